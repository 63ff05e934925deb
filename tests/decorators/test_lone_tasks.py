"""A task outside any flow has an experiment of its own."""

from __future__ import annotations

import asyncio
import threading

import prefect
import pytest

from ommx_prefect import current_run, load_experiment, task
from ommx_prefect._stages.local import LocalStage

pytestmark = pytest.mark.usefixtures("server")


def test_a_task_outside_any_flow_seals_an_experiment_of_its_own():
    @task(retries=1)
    def lone(fail):
        current_run().log_parameter("p", 1)
        if fail and current_run().run_id == 0 and not failed:
            failed.append(1)
            raise ValueError("once")
        return "done"

    failed: list[int] = []
    state = lone(True, return_state=True)
    experiment = load_experiment(state.state_details.task_run_id)
    assert [run.status for run in experiment.runs] == ["failed", "finished"]
    assert experiment.status == "finished"


async def test_the_seal_of_a_lone_async_task_lets_its_loop_go_on():
    """The seal needs its stage, which another one holds until a coroutine of the loop says so."""
    done, freed, freed_by = threading.Event(), threading.Event(), []

    @task
    async def lone():
        _hold(LocalStage(str(prefect.runtime.task_run.id)), freed, freed_by)
        done.set()
        return "done"

    async def frees():
        while not done.is_set():
            await asyncio.sleep(0.05)
        freed.set()

    state, _ = await asyncio.gather(lone(return_state=True), frees())
    assert freed_by == ["the loop"]
    _judge_lone(state)


async def test_the_seal_of_a_lone_async_generator_lets_its_loop_go_on():
    done, freed, freed_by, ids = threading.Event(), threading.Event(), [], []

    @task
    async def lone():
        ids.append(str(prefect.runtime.task_run.id))
        yield 1
        _hold(LocalStage(ids[0]), freed, freed_by)
        yield 2
        done.set()

    async def consumes():
        return [value async for value in lone()]

    async def frees():
        while not done.is_set():
            await asyncio.sleep(0.05)
        freed.set()

    values, _ = await asyncio.gather(consumes(), frees())
    assert (values, freed_by) == ([1, 2], ["the loop"])
    [run] = load_experiment(ids[0]).runs
    assert run.attachment_names == ["output.0", "output.1"]


async def test_the_seal_of_a_lone_async_task_takes_none_of_its_time():
    freed = threading.Event()

    @task(timeout_seconds=2)
    async def lone():
        _hold(LocalStage(str(prefect.runtime.task_run.id)), freed, [], seconds=3)
        return "done"

    _judge_lone(await lone(return_state=True))


def _hold(stage, freed, freed_by, seconds=30):
    def hold():
        with stage.locked():
            held.set()
            freed_by.append("the loop" if freed.wait(seconds) else "the clock")

    held = threading.Event()
    threading.Thread(target=hold).start()
    held.wait(240)


def _judge_lone(state):
    assert state.is_completed()
    experiment = load_experiment(state.state_details.task_run_id)
    assert [run.status for run in experiment.runs] == ["finished"]
    assert experiment.runs[0].get_json("output") == "done"
