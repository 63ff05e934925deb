"""An async task whose coroutine nobody runs to its end is interrupted."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ommx_prefect import current_run, flow, task
from tests.support.reading import run_flow

pytestmark = [
    pytest.mark.usefixtures("server"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_an_abandoned_task_is_interrupted(how):
    begun = []

    @task
    async def endless():
        current_run().log_parameter("begun", True)
        begun.append(True)
        await asyncio.get_running_loop().create_future()

    @flow
    def one():
        loop = asyncio.new_event_loop()
        coroutine = endless()
        waiting = loop.create_task(coroutine)

        async def until_begun():
            while not begun:
                await asyncio.sleep(0.01)

        loop.run_until_complete(until_begun())
        loop.close()
        if how == "closed":
            coroutine.close()
        del waiting, coroutine
        gc.collect()

    sealed = run_flow(one)
    assert sealed.statuses == ["interrupted"]
    assert sealed.runs[0].lifecycle_reason == "its coroutine was abandoned before it ended"
    assert sealed.column("begun") == [True]
