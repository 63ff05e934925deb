"""Some faults of each kind, in every kind of place; and proof that the comparison sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.faults import _judged
from tests.support.tiers import full

CHECKOUT = Path(__file__).resolve().parents[2]
# The n-th point of each kind of place.
PLACES = [("local", 90), *full(("disk", 80), ("oci", 150), ("oci, in groups", 150))]
JOURNAL = ["began a", "ended a", "began b", "ended b", "began c"]
GOOD = {"status": "finished", "pushed": True, "waits": [], "names": ["h/acme/x:one"]}
RUNS = [["a", "finished", 0, ""], ["b", "finished", 1, ""]]


@pytest.mark.server
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("place", "every"), PLACES)
def test_nothing_is_lost_or_doubled_wherever_something_fails(place, every):
    command = [sys.executable, "-m", "tests.crash.faults", "--only", place]
    done = subprocess.run(
        [*command, "--every", str(every), "--at", "7"],
        cwd=CHECKOUT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 faults lost or doubled something" in done.stdout


def problems(*runs, may_lack=False, **changes):
    return _judged(JOURNAL, {**GOOD, **changes, "runs": list(runs)}, may_lack=may_lack)


def test_what_is_whole_is_right():
    assert problems(*RUNS) == []
    assert problems(*RUNS, ["c", "interrupted", None, ""]) == []


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (RUNS[:1], "b is lost"),
        ([*RUNS, RUNS[0]], "a has 2 Runs"),
        ([*RUNS, ["d", "finished", 3, ""]], "d never began"),
        ([RUNS[0], ["b", "interrupted", None, ""]], "b is interrupted"),
        ([RUNS[0], ["b", "finished", 7, ""]], "b is finished with 7"),
        ([RUNS[0], ["b", "finished", None, "degraded: no room"]], "b is finished with None"),
    ],
)
def test_what_is_lost_doubled_or_changed_is_seen(runs, said):
    assert any(problem.startswith(said) for problem in problems(*runs))


def test_an_output_without_room_may_lack_where_its_run_says_so():
    degraded = ["b", "finished", None, "degraded: no room"]
    assert problems(RUNS[0], degraded, may_lack=True) == []
    assert problems(RUNS[0], ["b", "finished", None, ""], may_lack=True)


@pytest.mark.parametrize("change", [{"pushed": False}, {"waits": ["x"]}, {"status": "failed"}])
def test_what_is_not_pushed_or_still_waits_is_seen(change):
    assert problems(*RUNS, **change)
