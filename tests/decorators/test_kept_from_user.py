"""What fails beside the user's flow or task leaves its result, its errors and its hooks alone."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import replace

import pytest
from prefect.transactions import transaction

from ommx_prefect import flow, task
from ommx_prefect._decorators import flow as flow_module
from ommx_prefect._decorators.late_seal import LateSeal
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.local import LocalStage
from tests.support.logs import warnings_in
from tests.support.reading import run_flow

ATTEMPT = Attempt(
    root_flow_run_id=str(uuid.uuid4()),
    flow_run_id=str(uuid.uuid4()),
    flow_attempt=1,
    task_run_id=str(uuid.uuid4()),
    task="ends",
    task_run="ends-1",
    attempt=1,
    nonce="0",
    started_at=time.time(),
    host="here",
    pid=os.getpid(),
)


@task
def square(x):
    return x * x


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.usefixtures("server")
def test_states_and_hooks_are_prefects_whatever_cannot_be_recorded(monkeypatch):
    undone = []

    @task
    def writes():
        return 1

    @writes.on_rollback
    def undo(transaction):
        undone.append("writes")

    def failing():
        with transaction():
            writes()
            square(2)
            monkeypatch.setattr(LocalStage, "write", full_disk)
            raise RuntimeError("boom")

    @flow
    def one():
        states = square.map([1, 2], return_state=True)
        with pytest.raises(RuntimeError, match="boom"):
            failing()
        monkeypatch.undo()
        return [state.type.value for state in states], square.submit(3, return_state=True).type

    with warnings_in("prefect.flow_runs", "prefect.task_runs") as warnings:
        sealed = run_flow(one)
    assert sealed.state.result() == (["COMPLETED"] * 2, "COMPLETED")
    assert undone == ["writes"]
    assert any("rollback could not be recorded" in text for text in warnings)
    assert sealed.column("prefect.task") == ["square", "square", "writes", "square", "square"]


@pytest.mark.usefixtures("server")
def test_a_flow_runs_where_its_progress_and_its_registry_cannot_be_told(monkeypatch):
    @flow
    def one():
        return square(3)

    monkeypatch.setattr(flow_module, "begin_progress", full_disk)
    monkeypatch.setattr(flow_module, "root_of", full_disk)
    sealed = run_flow(one)
    assert (sealed.state.result(), sealed.statuses) == (9, ["finished"])


def test_a_late_seal_that_fails_early_leaves_the_tasks_own_error():
    """An id that is no folder's name: where the stage is cannot even be asked."""
    attempt = replace(ATTEMPT, root_flow_run_id="../elsewhere")
    with warnings_in("prefect.ommx_prefect") as warnings:
        LateSeal().seal(attempt, Outcome("finished", "Completed"))
    assert ["not sealed yet" in text for text in warnings] == [True]
    recording = Recording(attempt, RecordingOptions(), {}, late_seal=LateSeal())
    with pytest.raises(ValueError, match="the user's"), recording:
        raise ValueError("the user's")


async def test_a_late_seal_beside_a_loop_that_fails_early_does_so_too():
    with warnings_in("prefect.ommx_prefect") as warnings:
        outcome = Outcome("finished", "Completed")
        await LateSeal().seal_async(replace(ATTEMPT, root_flow_run_id="../elsewhere"), outcome)
    assert ["not sealed yet" in text for text in warnings] == [True]
