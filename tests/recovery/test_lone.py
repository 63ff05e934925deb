"""Recovery of what no recorded flow started: task runs outside flows, tasks of a plain flow."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from ommx_prefect import load_experiment, task
from ommx_prefect._reporting import events
from ommx_prefect._shards.process import process_start
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.local import LocalStage
from tests.recovery.scene import attempt_of, recovered
from tests.reporting.test_events import events_about

pytestmark = pytest.mark.usefixtures("server")


@pytest.mark.parametrize("ended", [True, False])
def test_a_task_run_outside_flows_is_recovered(ended):
    task_run_id = str(uuid.uuid4())
    attempt = attempt_of(task_run_id, task_run_id=task_run_id, flow_run_id="")
    stage = LocalStage(task_run_id)
    stage.begin(attempt)
    if ended:
        stage.put(Shard(attempt, "failed", "it failed", attempt.parameters("Failed", 1.0)))
    row = recovered()[task_run_id]
    assert row["done"] == "sealed"
    experiment = load_experiment(task_run_id)
    assert experiment.status == ("failed" if ended else "interrupted")
    assert [run.status for run in experiment.runs] == [experiment.status]
    assert task_run_id not in recovered()


def test_a_task_run_outside_flows_whose_record_is_lost_has_the_status_of_its_state():
    import prefect

    @prefect.task
    def work():
        return 1

    task_run_id = str(work(return_state=True).state_details.task_run_id)
    _wait_until_known(task_run_id)
    LocalStage(task_run_id).begin(attempt_of(task_run_id, task_run_id=task_run_id, flow_run_id=""))
    assert recovered()[task_run_id]["done"] == "sealed"
    experiment = load_experiment(task_run_id)
    assert (experiment.status, [x.status for x in experiment.runs]) == ("finished", ["finished"])
    assert experiment.run_parameters_df()["prefect.state"].tolist() == ["Completed"]
    assert "record is lost" in experiment.annotations["org.ommx-prefect.degraded"]


def _wait_until_known(task_run_id):
    deadline = time.monotonic() + 240
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(ObjectNotFound):
                state = client.read_task_run(uuid.UUID(task_run_id)).state
                if state is not None and state.is_final():
                    return
            time.sleep(0.2)
    raise TimeoutError(task_run_id)


def test_a_task_run_outside_flows_that_runs_is_left_alone():
    task_run_id = str(uuid.uuid4())
    here = {"pid": os.getpid(), "start": process_start(os.getpid())}
    attempt = attempt_of(task_run_id, task_run_id=task_run_id, flow_run_id="", **here)
    LocalStage(task_run_id).begin(attempt)
    assert recovered()[task_run_id]["done"] == "waits"
    LocalStage(task_run_id).discard_starts([attempt_of(task_run_id, task_run_id=task_run_id).key])


def test_recorded_tasks_under_a_plain_flow_are_sealed_when_it_has_ended():
    import prefect

    @task
    def work(x):
        return x

    @prefect.flow
    def plain():
        return work(1)

    flow_run_id = str(plain(return_state=True).state_details.flow_run_id)
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(uuid.UUID(flow_run_id)).name
    row = recovered()[flow_run_id]
    assert (row["name"], row["flow"]) == (name, "plain")  # no record of ours says so, Prefect does
    assert (row["done"], row["sealed"]["status"]) == ("sealed", "finished")
    assert load_experiment(flow_run_id).runs[0].get_json("output") == 1


def test_a_task_run_outside_flows_that_cannot_be_sealed_is_told_of(server):
    import prefect

    @prefect.task
    def work():
        return 1

    task_run_id = str(work(return_state=True).state_details.task_run_id)
    _wait_until_known(task_run_id)
    stage = LocalStage(task_run_id)
    attempt = attempt_of(task_run_id, task_run_id=task_run_id, flow_run_id="")
    stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    (stage.path / "shards" / attempt.key).write_bytes(b"broken")
    row = recovered()[task_run_id]
    shutil.rmtree(stage.path)
    assert row["done"] == "failed"
    (told,) = events_about(server, f"ommx-prefect.experiment.{task_run_id}")
    assert told["event"] == events.SEAL_FAILED
    assert told["payload"]["mend"] == f"ommx-prefect seal {task_run_id}"
    assert told["payload"]["error"] == row["why"]
    related = [(x["prefect.resource.id"], x["prefect.resource.role"]) for x in told["related"]]
    assert (f"prefect.task-run.{task_run_id}", "task-run") in related
