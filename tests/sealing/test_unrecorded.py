"""Attempts whose record is lost or out of reach: Prefect knows that they were recorded."""

from __future__ import annotations

import dataclasses
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import prefect
import pytest
from prefect.client.orchestration import get_client
from prefect.states import Completed, Running
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import exceptions, flow, seal, task
from ommx_prefect._prefect import api
from ommx_prefect._prefect.api import await_task_runs, read_task_runs
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.process import host_name
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import DIRECTORY
from tests.support.reading import Sealed, await_final, run_flow

pytestmark = pytest.mark.usefixtures("server")

GONE = 2**22 - 1
DEGRADED = "org.ommx-prefect.degraded"


@task
def note(x):
    return {"x": x}


@task(retries=1)
def broken():
    raise ValueError("no plan")


@prefect.task
def plain_task():
    return 1


@prefect.flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def on_another_registry():
    note.submit(1).wait()
    broken.submit().wait()
    plain_task.submit().wait()
    return note(2)


def _sealed_with_the_pool_in(registry: Path, monkeypatch: pytest.MonkeyPatch) -> Sealed:
    """Run the flow with the pool's records in a registry that the seal does not reach."""
    registry_root()  # is fixed now in this process, so that only the pool's has another one
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", str(registry))
    state = on_another_registry(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    await_final(flow_run_id, 4)
    seal(flow_run_id)
    sealed = Sealed(state, flow_run_id)
    assert sealed.column("prefect.task") == ["note", "broken", "note"]
    assert sealed.statuses == ["finished", "failed", "finished"]
    assert sealed.experiment.annotations[DEGRADED].count("is lost or out of reach") == 2
    return sealed


def test_records_out_of_reach_have_runs_that_say_so_until_they_come(tmp_path, monkeypatch):
    sealed = _sealed_with_the_pool_in(tmp_path, monkeypatch)
    flow_run_id = sealed.flow_run_id
    assert sealed.column("prefect.attempt") == [1, 2, 1]
    assert sealed.column("prefect.host") == [host_name()] * 3
    assert f"made on {host_name()}, is lost" in sealed.runs[1].lifecycle_reason
    assert sealed.runs[2].get_json("output") == {"x": 2}
    assert len(sealed.ledger["task_runs"]) == 4

    _bring(tmp_path / DIRECTORY / flow_run_id / "shards", LocalStage(flow_run_id))
    assert seal(flow_run_id).counts == {"failed": 2, "finished": 2}
    sealed = Sealed(sealed.state, flow_run_id)
    assert sealed.column("prefect.attempt") == [1, 1, 2, 1]
    assert sealed.runs[1].lifecycle_reason == "ValueError: no plan"
    assert DEGRADED not in sealed.experiment.annotations


@pytest.mark.full
def test_a_registry_that_takes_nothing_loses_payload_and_no_run(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    sealed = _sealed_with_the_pool_in(tmp_path / "file" / "registry", monkeypatch)
    assert [run.attachment_names for run in sealed.runs] == [[], [], ["output"]]


def _bring(folder: Path, stage: LocalStage) -> None:
    """Bring shards of another registry here, without their payload."""
    for path in folder.iterdir():
        shard = Shard.from_bytes(path.read_bytes())
        stage.put(dataclasses.replace(shard, documents=None))


def test_an_execution_that_ended_counts_before_one_that_was_cut_off_later():
    task_run_id = str(uuid.uuid4())

    @flow
    def one():
        flow_run_id = prefect.runtime.flow_run.id
        stage = LocalStage(flow_run_id)
        first, second = (
            Attempt(flow_run_id, flow_run_id, 1, task_run_id, "work", "work-0", 1, f"n{seconds}",
                    time.time() + seconds, "elsewhere", GONE)
            for seconds in (1, 2)
        )  # fmt: skip
        stage.begin(first)
        parameters = first.parameters("Completed", 1.0)
        stage.put(Shard(first, "finished", parameters=parameters))
        stage.begin(second)

    sealed = run_flow(one)
    assert sealed.statuses == ["finished", "interrupted"]
    assert sealed.column("prefect.state") == ["Completed", "Superseded"]
    rows = {row["task_run_id"]: row["run_ids"] for row in sealed.ledger["task_runs"]}
    assert rows[task_run_id] == [0, 1]


def test_what_a_busy_server_takes_in_late_is_waited_for(monkeypatch):
    monkeypatch.setattr(api, "GONE_SECONDS", 120.0)  # a busy machine is no fault of it

    @prefect.flow
    def plain():
        return plain_task()

    flow_run_id = str(plain(return_state=True).state_details.flow_run_id)
    with get_client(sync_client=True) as client:
        known = {row.task_run_id for row in read_task_runs(client, [flow_run_id])}
        began = Running()
        late = client.create_task_run(plain_task, flow_run_id, "late", state=began).id

        def take_in():
            time.sleep(0.3)
            ended = Completed(timestamp=began.timestamp + timedelta(seconds=1))
            return client.set_task_run_state(late, ended, force=True)

        with ThreadPoolExecutor() as pool:
            taken_in = pool.submit(take_in)
            rows = await_task_runs(client, [flow_run_id], known, [], [], ended_elsewhere=True)
        assert taken_in.result().status == "ACCEPT"
        assert {row.task_run_id: row.state for row in rows}[str(late)] == "Completed"


def test_nothing_is_made_up_for_a_flow_run_without_records():
    @prefect.flow
    def plain():
        return plain_task()

    state = plain(return_state=True)
    with pytest.raises(exceptions.NotSealedError):
        seal(state.state_details.flow_run_id)
