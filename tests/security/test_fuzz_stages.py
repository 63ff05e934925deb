"""Some cases of the fuzzer of whole stages, each in every kind of place; and proof that it sees."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.security import fuzz_stages
from tests.security.fuzzing import cases
from tests.security.fuzzing.cases import Outcome, Trial, _bytes_now, _held_up
from tests.security.fuzzing.changes import Change, changed_bytes
from tests.security.fuzzing.forgery import tampered

CHECKOUT = Path(__file__).resolve().parents[2]
# 23 in each kind of place.
CASES = 207
KEY = "01973c7e-5b2a-7c3d-9e4f-0123456789ab-1-0123456789ab"
RUN = ["finished", None, "payload", {"objective": "1.5"}]


@pytest.mark.timeout(600)
@pytest.mark.server
def test_changed_stages_of_all_places_are_sealed_or_refused_by_name():
    command = [sys.executable, "-m", "tests.security.fuzz_stages", "--workers", "1"]
    command += ["--cases", str(CASES)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"0 cases of {CASES} ended as they must not" in done.stdout


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


def test_what_setting_aside_does_not_end_is_seen_but_for_later_releases():
    assert _held_up(f"{KEY} is damaged")
    assert not _held_up("it has format 99, ...: upgrade ommx_prefect on this host")


def _takes_memory() -> Outcome:
    assert bytearray(600 * 2**20)
    return Outcome("same")


def _sleeps() -> Outcome:
    time.sleep(0.2)
    return Outcome("same")


def _raises() -> Outcome:
    raise KeyError("seed")


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: Outcome("same"), ""),
        (_takes_memory, "it took 6"),
        (_sleeps, "it took 0 s"),
        (_raises, "KeyError: 'seed'"),
    ],
)
def test_a_case_that_takes_too_much_or_raises_is_seen(trial, work, said):
    trial.base_bytes, trial.most_seconds = _bytes_now(), 0.1 if work is _sleeps else 60
    problem = trial.watched(work, "bytes").problem
    assert said in problem
    assert bool(problem) == bool(said)


@pytest.mark.server  # it takes seconds: a process that stands still is waited for
def test_a_case_that_hangs_or_ends_its_process_is_seen_and_the_next_are_tried(monkeypatch, capfd):
    def planted(folder, name, first, until):
        for seed in range(first, until):
            if seed == 1:
                os._exit(3)
            if seed == 2:
                os.kill(os.getpid(), signal.SIGKILL)  # of others CBC makes an abort
            if seed == 3:
                signal.alarm(0)  # as who measures a time of its own does
                time.sleep(60)
            if seed == 4:
                raise RuntimeError("not of this scene")
            yield seed, "same", "lost" if seed == 5 else ""
            if seed == 5:
                return

    monkeypatch.setattr(fuzz_stages, "_try", planted)
    monkeypatch.setattr(fuzz_stages, "PATIENCE_SECONDS", 8)
    ends = list(fuzz_stages.cases_of(Path("nowhere"), "local", 0, 8))
    assert ends == [
        ("same", ""),
        ("died", "local 1: its process ended with 3"),
        ("died", "local 2: its process ended with -9"),
        ("died", "local 3: its process stood still"),
        ("died", "local 4: its process ended with 1"),
        ("same", "local 5: same: lost"),
        ("same", ""),
        ("same", ""),
    ]
    assert "not of this scene" in capfd.readouterr().err


def test_changes_are_the_same_each_time():
    data, document = b'{"a": [1, 2]}' * 10, {"a": [1, {"b": "c"}]}
    for number in range(50):
        dice, again = random.Random(number), random.Random(number)
        assert changed_bytes(data, dice) == changed_bytes(data, again)
        assert str(tampered(document, dice)) == str(tampered(document, again))
