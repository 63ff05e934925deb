"""Which solves stop because a flow run was interrupted: its own, and no other's."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import pytest
from prefect.exceptions import Pause
from prefect.states import Suspended

from ommx_prefect import flow, task
from ommx_prefect.solvers._stopping import require_flow_run
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")

SECONDS = 20.0


@task
def obeys(seconds):
    """What a solve does: it looks now and then whether it is to stop."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        require_flow_run()
        time.sleep(0.02)
    return "whole"


def await_end(future):
    with contextlib.suppress(KeyboardInterrupt):  # the future hands on its task's
        future.wait(SECONDS / 2)


def test_a_subflow_that_times_out_stops_its_own_solves_and_not_its_parents():
    own, is_over = [], threading.Event()

    @task
    def siblings():
        is_over.wait(SECONDS)
        require_flow_run()
        return "whole"

    @flow(timeout_seconds=1)
    def inner():
        own.append(obeys.submit(SECONDS))
        for _ in range(400):
            time.sleep(0.01)

    @flow
    def between():
        return inner(return_state=True).name

    @flow(timeout_seconds=1)
    async def waits():
        await asyncio.sleep(SECONDS)

    @flow
    async def parent():
        sibling = siblings.submit()
        names = [await asyncio.to_thread(between), (await waits(return_state=True)).name]
        is_over.set()
        return names, sibling.result(), obeys(0.1)

    try:
        state = asyncio.run(_ran(parent))
    except KeyboardInterrupt:  # which would end all tests
        pytest.fail("a subflow's timeout was taken for the parent's interruption")
    assert state.result() == (["TimedOut", "TimedOut"], "whole", "whole")
    assert own[0].state.is_crashed()


async def _ran(flow):
    return await flow(return_state=True)


def test_a_parent_that_is_interrupted_stops_the_solves_of_all_its_flow_runs():
    tasks = {}

    @flow
    def inner():
        tasks["inner"] = obeys.submit(SECONDS)
        time.sleep(0.3)
        raise KeyboardInterrupt

    @flow
    def later():
        return 1

    @flow
    def parent():
        tasks["parent"] = obeys.submit(SECONDS)
        try:
            inner()
        finally:
            later()

    with pytest.raises(KeyboardInterrupt):
        parent()
    for future in tasks.values():
        await_end(future)
        assert future.state.is_crashed()


def test_a_pause_lets_the_tasks_that_run_go_on():
    futures = []

    @flow
    def pauses():
        futures.append(obeys.submit(1.5))
        time.sleep(0.3)
        raise Pause(state=Suspended())

    with pytest.raises(Pause):
        pauses()
    await_end(futures[0])
    assert futures[0].state.is_completed()


def test_a_flow_run_that_is_retried_goes_on():
    @flow(retries=1)
    def retried():
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("once")
        return obeys(0.1)

    attempts: list[int] = []
    assert run_flow(retried).state.result() == "whole"
