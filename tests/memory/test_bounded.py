"""What all threads of a process tell and ask is bounded, and breaks in none of them."""

from __future__ import annotations

import sys
import threading

import pytest

from ommx_prefect._flowrun.interruptions import interruption_here, interruption_noted
from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._stages.resolve import MOST_TOLD, stage_of, tell_stage


def in_threads(work):
    """Call something with a number in eight threads at once; return what was raised."""
    errors = []

    def caught(number):
        try:
            work(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=caught, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.fixture
def restless():
    """Threads that take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_what_was_told_first_is_forgotten_first():
    known: Bounded[str, int] = Bounded(2)
    known.update({"a": 1, "b": 2})
    known["c"] = 3
    assert [*known] == ["b", "c"]
    assert (len(known), known.get("a"), known.get("c")) == (2, None, 3)
    known.forget("b")
    known.forget("b")
    assert [*known] == ["c"]


@pytest.mark.usefixtures("restless")
def test_threads_that_tell_and_ask_at_once_disturb_each_other_in_nothing():
    known: Bounded[int, int] = Bounded(3)

    def tells(number):
        for turn in range(3_000):
            known[number * 10_000 + turn] = turn
            assert len([*known]) <= 3

    assert in_threads(tells) == []


@pytest.mark.usefixtures("restless")
def test_flow_runs_of_many_threads_are_told_their_stage():
    def tells(number):
        for turn in range(3 * MOST_TOLD):
            tell_stage(f"{number}-{turn}", "local")
        with pytest.raises(KeyboardInterrupt), interruption_noted(f"flow-{number}"):
            raise KeyboardInterrupt
        assert interruption_here(f"flow-{number}")

    assert in_threads(tells) == []
    tell_stage("told", "oci://127.0.0.1:1/shards")
    assert stage_of("told").name == "oci://127.0.0.1:1/shards"
