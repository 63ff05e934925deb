"""Some cases of the fuzzer of whole stages, each in every kind of place; and proof that it sees."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.fuzzing import cases
from tests.security.fuzzing.cases import Trial
from tests.security.fuzzing.changes import Change, changed_bytes, tampered

CHECKOUT = Path(__file__).resolve().parents[2]
CASES = 40
KEY = "01973c7e-5b2a-7c3d-9e4f-0123456789ab-1-0123456789ab"
RUN = ["finished", None, "payload", {"objective": "1.5"}]


@pytest.mark.timeout(600)
@pytest.mark.server
def test_changed_stages_of_all_places_are_sealed_or_refused_by_name():
    command = [sys.executable, "-m", "tests.security.fuzz_stages", "--cases", str(CASES)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 cases ended as they must not" in done.stdout


@pytest.fixture
def trial():
    """A trial whose stage has one Run."""
    found = Trial.__new__(Trial)
    found.scene, found.wanted, found.keys_of = None, {KEY: RUN}, {}
    return found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "is lost"),
        ({KEY: ["finished", None, "payload", {"objective": "2.5"}]}, "2.5"),
        ({KEY: RUN, KEY[::-1]: RUN}, "became"),
    ],
)
def test_what_is_lost_changed_or_doubled_is_seen(trial, monkeypatch, found, said):
    monkeypatch.setattr(cases, "runs_in", lambda scene: found)
    assert said in trial._compared("same", Change("bytes", (Path("flow.json"),))).problem


def test_a_run_of_a_damaged_record_may_be_lost_and_not_another(trial, monkeypatch):
    monkeypatch.setattr(cases, "runs_in", lambda scene: {KEY: ["interrupted", "", None, {}]})
    assert not trial._compared("same", Change("bytes", (Path(KEY),))).problem
    monkeypatch.setattr(cases, "runs_in", lambda scene: {KEY: ["failed", "", "payload", {}]})
    assert trial._compared("same", Change("bytes", (Path(KEY),))).problem


def test_an_error_that_names_nothing_or_has_no_end_is_seen(trial):
    change = Change("bytes", (Path(KEY),))
    assert not trial._misnamed(f"{KEY} is damaged", change)
    assert trial._misnamed("it is damaged", change)
    assert trial._misnamed(KEY * 100, change)


def test_changes_are_the_same_each_time():
    data, document = b'{"a": [1, 2]}' * 10, {"a": [1, {"b": "c"}]}
    for number in range(50):
        dice, again = random.Random(number), random.Random(number)
        assert changed_bytes(data, dice) == changed_bytes(data, again)
        assert str(tampered(document, dice)) == str(tampered(document, again))
