"""Recording takes none of the time that a task may take, and no clock changes what it records."""

from __future__ import annotations

import time

import pytest
from prefect.futures import wait
from prefect.runtime import task_run
from pydantic import BaseModel, field_serializer

from ommx_prefect import flow, task
from tests.support.reading import run_flow, sealed_of
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server")


def test_a_timeout_that_fires_while_recording_loses_no_run():
    @task(timeout_seconds=0.15)
    def edge(seconds):
        time.sleep(seconds)
        return 1

    @flow
    def one():
        return [edge(0.134 + i / 1000, return_state=True).name for i in range(20)]

    sealed = run_flow(one)
    assert len(sealed.runs) == 20


def test_a_clock_that_is_set_back_changes_no_order_and_no_status(monkeypatch):
    behind, clock = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: clock() - behind[0])

    @task(retries=1)
    def second_time():
        behind[0] += 60
        if task_run.run_count == 1:
            raise ValueError("once")
        return 42

    @task(timeout_seconds=1)
    def sleeps():
        behind[0] += 60
        time.sleep(3)

    @flow
    def one():
        second_time()
        sleeps(return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.statuses == ["failed", "finished", "failed"]
    assert sealed.column("prefect.attempt") == [1, 2, 1]
    assert sealed.column("prefect.state") == ["Failed", "Completed", "TimedOut"]


class Slow(BaseModel):
    """Takes longer to encode than its task may take."""

    x: int = 1

    @field_serializer("x")
    def slowly(self, x):
        time.sleep(2.5)
        return x


@pytest.mark.parametrize("store_trace", [False, *full(True)], ids=["", "traced"])
async def test_what_recording_takes_is_none_of_a_tasks_time(store_trace):
    timed = task(timeout_seconds=2, store_trace=store_trace)

    @timed
    def returns():
        return Slow()

    @timed
    async def returns_too():
        return Slow()

    @timed
    def sleeps():
        time.sleep(4)

    @flow
    async def one():
        here = [returns(return_state=True), await returns_too(return_state=True)]
        here.append(sleeps(return_state=True))
        there = [work.submit() for work in (returns, returns_too, sleeps)]
        wait(there)
        names.extend(state.name for state in (*here, *(future.state for future in there)))
        return 1

    names = []
    sealed = sealed_of(await one(return_state=True))
    assert names == ["Completed", "Completed", "TimedOut"] * 2
    status = dict(zip(sealed.column("prefect.task"), sealed.statuses, strict=True))
    assert sorted(sealed.statuses) == ["failed"] * 2 + ["finished"] * 4
    assert status["sleeps"] == "failed"
    outputs = [run.get_json("output") for run in sealed.runs if run.status == "finished"]
    assert outputs == [{"x": 1}] * 4


def test_the_timeout_of_a_flow_is_heeded_while_a_task_with_one_is_recorded():
    @task(timeout_seconds=60)
    def returns():
        return Slow()

    @flow(timeout_seconds=5)
    def one():
        returns()
        # Where a signal handler stands already, Prefect times out by a thread, which does not
        # interrupt one long sleep.
        for _ in range(2_000):
            time.sleep(0.1)

    began = time.monotonic()
    sealed = run_flow(one)
    assert time.monotonic() - began < 200
    assert sealed.state.name == "TimedOut"
    assert sealed.runs[0].get_json("output") == {"x": 1}
