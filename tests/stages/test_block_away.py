"""A storage block that goes away: nothing is lost, and what waited goes out later."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid

import prefect
import pytest
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import (
    checkpoint,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._oci import transport
from ommx_prefect._recovery.recover import recover
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.resolve import stage_at
from ommx_prefect._stages.roots import DIRECTORY
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from tests.support.models import knapsack
from tests.support.places import (
    SECRET,
    RegistryPlace,
    assert_nothing_waits,
    folder_place,
    s3_place,
)
from tests.support.reading import run_flow, sealed_of
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(params=["local-file-system", "s3-bucket", "oci"])
def fickle(request, tmp_path, monkeypatch):
    name = f"fickle-{uuid.uuid4().hex[:8]}"
    if request.param == "oci":
        for table in (transport.RETRY, transport.BRIEF_RETRY):
            monkeypatch.setitem(table, "attempts", 2)
        server = request.getfixturevalue("registry")
        return RegistryPlace(server, name, f"{server.host}/acme/{name}")
    if request.param == "s3-bucket":
        return s3_place(request.getfixturevalue("s3"), name)
    return folder_place(tmp_path, name)


def test_a_place_that_goes_away_loses_nothing_and_fails_no_task(fickle, caplog):
    @task
    def during(x):
        current_run().log_instance("model", knapsack())
        fickle.go_away()
        return x

    @flow(stage=fickle.stage, experiment=fickle.experiment)
    def one():
        note(1)
        return during(2)

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    assert state.result() == 2
    outbox = LocalStage(flow_run_id)
    assert [shard.attempt.task for shard in outbox.shards()] == ["during"]
    with pytest.raises(exceptions.OmmxPrefectError, match=fickle.stage):
        seal(flow_run_id)
    assert f"waits on {outbox.shards()[0].attempt.host} in {outbox.path}" in caplog.text
    fickle.come_back()
    assert seal(flow_run_id).counts == {"finished": 2}
    runs = load_experiment(flow_run_id).runs
    assert runs[1].get_instance("model").num_variables == 3
    assert load_experiment(flow_run_id).annotations.get("org.ommx-prefect.degraded") is None
    assert SECRET not in caplog.text
    assert_nothing_waits(fickle, flow_run_id)


def test_what_waited_on_a_worker_goes_out_with_its_next_record(shared):
    waiting = []

    @task
    def away():
        shared.go_away()

    @task
    def back(flow_run_id):
        waiting.append(len(LocalStage(flow_run_id).shards()))
        shared.come_back()

    @flow(stage=shared.stage)
    def one():
        away()
        back(prefect.runtime.flow_run.id)
        waiting.append(len(LocalStage(prefect.runtime.flow_run.id).shards()))

    sealed = run_flow(one)
    assert waiting == [1, 0]
    assert sealed.column("prefect.task") == ["away", "back"]


def test_a_record_that_goes_out_late_leaves_its_checkpoint_for_the_seal(shared):
    @task
    def away():
        checkpoint(incumbent=[1, 0, 1])
        shared.go_away()

    @task
    def back():
        shared.come_back()

    @flow(stage=shared.stage)
    def one():
        away()
        back()
        return len(LocalStage(prefect.runtime.flow_run.id).shards())

    sealed = run_flow(one)
    assert sealed.state.result() == 0
    assert sealed.runs[0].get_json("incumbent") == [1, 0, 1]


@task
def while_away(place):
    current_run().log_json("plan", [1, 2])
    place.go_away()
    return "kept"


def test_recover_on_a_worker_s_host_sends_its_records_and_seals_nothing_there(
    shared, tmp_path, monkeypatch
):
    here, worker = str(registry_root()), tmp_path / "worker"
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", str(worker))

    @flow(stage=shared.stage, task_runner=ProcessPoolTaskRunner(max_workers=1))
    def one():
        note.submit(1).wait()
        while_away.submit(shared).wait()
        shared.come_back()

    sealed = run_flow(one)
    assert sealed.runs[0].get_json("output") == {"x": 1}
    assert not any("plan" in run.attachment_names for run in sealed.runs)

    assert _recovered(sealed.flow_run_id, "--dry-run")["done"] == "would send"
    shared.go_away()
    assert _recovered(sealed.flow_run_id, returns=1)["done"] == "failed"
    shared.come_back()
    row = _recovered(sealed.flow_run_id)
    assert (row["done"], row["sealed"]) == ("sent", None)
    assert shared.stage in row["why"]
    left = {path.name for path in (worker / DIRECTORY / sealed.flow_run_id).iterdir()}
    assert not left & {"sealed.json", "flow.json"}
    assert _recovered(sealed.flow_run_id) is None

    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", here)
    assert seal(sealed.flow_run_id).counts == {"finished": 2}
    experiment = load_experiment(sealed.flow_run_id)
    assert experiment.runs[1].get_json("plan") == [1, 2]
    assert experiment.runs[1].get_json("output") == "kept"
    assert "org.ommx-prefect.degraded" not in experiment.annotations


def _recovered(flow_run_id, *arguments, returns=0):
    """What `recover` says of a flow run, on the host whose registry the environment names."""
    command = [sys.executable, "-m", "ommx_prefect", "recover", "--json", "--min-age", "0"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == returns, done.stdout + done.stderr
    return next((x for x in json.loads(done.stdout) if x["flow_run_id"] == flow_run_id), None)


def test_recover_sends_the_start_of_an_attempt_that_was_killed_before_it_could(shared):
    flow_run_id = str(uuid.uuid4())
    stage = stage_at(flow_run_id, shared.stage)
    attempt = Attempt(
        flow_run_id, flow_run_id, 1, str(uuid.uuid4()), "t", "t-0", 1, "n", 1.0, "elsewhere", 1
    )
    shared.go_away()
    stage.begin(attempt)
    shared.come_back()
    assert LocalStage(flow_run_id).starts() == [attempt]
    done = {row.flow_run_id: row.done for row in recover(min_age_seconds=0)}
    assert done[flow_run_id] == "sent"
    assert list(shared.objects(flow_run_id)) == [f"{flow_run_id}/starts/{attempt.key}"]
    assert LocalStage(flow_run_id).starts() == []


def test_a_task_that_must_be_recorded_there_fails(shared):
    @task(on_error="raise")
    def strict():
        shared.go_away()

    @flow(stage=shared.stage)
    def one():
        return strict(return_state=True)

    state = one(return_state=True)
    shared.come_back()
    with pytest.raises(exceptions.RecordingError, match="could not write"):
        state.result()
    assert seal(state.state_details.flow_run_id).counts == {"failed": 1}
    sealed = sealed_of(state)
    assert sealed.runs[0].status == "failed"
    assert "could not write" in sealed.runs[0].lifecycle_reason
    assert sealed.column("prefect.state") == ["Failed"]


def test_a_rollback_while_the_stage_is_away_goes_out_with_the_next_record(shared):
    from prefect.transactions import transaction

    @flow(stage=shared.stage)
    def one():
        flow_run_id = prefect.runtime.flow_run.id
        with contextlib.suppress(ValueError), transaction():
            note(3)
            shared.go_away()
            raise ValueError("undo")
        shared.come_back()
        seen = [set(shared.objects(flow_run_id))]
        note(4)
        return [*seen, set(shared.objects(flow_run_id))]

    sealed = run_flow(one)
    before, after = (
        {name for name in names if "/rolled-back/" in name} for names in sealed.state.result()
    )
    assert (len(before), len(after)) == (0, 1)
    assert sealed.column("prefect.state") == ["RolledBack", "Completed"]
    assert shared.objects(sealed.flow_run_id) == {}
    assert sealed.flow_run_id not in unsealed_flow_runs()
