"""`ommx-prefect seal`: asked again, told what is not so, and where documents are damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import prefect
import pytest
from prefect import runtime
from prefect.client.orchestration import get_client

from ommx_prefect import exceptions, flow, load_experiment, seal, task
from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.recover import recover
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.exceptions import DocumentError, SealError, UnreadableError
from tests.support.reading import run_flow
from tests.support.small_disk import small_disk
from tests.support.tiers import full, some

pytestmark = pytest.mark.usefixtures("server")


@task
def double(x):
    return 2 * x


@task
def fails():
    raise ValueError("no plan")


@flow
def one():
    double(1)


def _command(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "ommx_prefect", *arguments],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_what_is_known_to_have_finished_is_not_called_interrupted():
    flow_run_id = run_flow(one).flow_run_id
    before = seal(flow_run_id)
    with pytest.raises(SealError, match="it is known to be Completed"):
        seal_by_hand(flow_run_id, interrupted=True)
    assert seal(flow_run_id) == before
    assert load_experiment(flow_run_id).status == "finished"


def test_a_late_record_of_a_flow_run_that_prefect_has_forgotten_extends_what_is_sealed():
    flow_run_id = run_flow(one).flow_run_id
    late = Attempt(flow_run_id, flow_run_id, 1, "", "late", "late", 1, "n", time.time(), "away", 1)
    parameters = late.parameters("Completed", 1.0)
    LocalStage(flow_run_id).put(Shard(late, "finished", parameters=parameters))
    with get_client(sync_client=True) as client:
        client.delete_flow_run(flow_run_id)
    found = [row for row in recover(min_age_seconds=0) if row.flow_run_id == flow_run_id]
    said = [(row.done, row.why) for row in found]
    assert said == [("sealed", "its hook was told that it is Completed")]
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "finished"
    assert len(experiment.runs) == 2


@pytest.mark.parametrize(
    ("work", "arguments", "status"), [(fails, (), "failed"), *full((double, (1,), "finished"))]
)
def test_a_task_run_outside_flows_may_be_sealed_again_and_is_not_called_interrupted(
    work, arguments, status
):
    state = work(*arguments, return_state=True)
    task_run_id = str(state.state_details.task_run_id)
    done = _command("seal", task_run_id, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == status
    refused = _command("seal", task_run_id, "--interrupted")
    assert refused.returncode == 1
    assert "it is known to be" in refused.stderr
    assert load_experiment(task_run_id).status == status


# Name of a document in a stage -> JSON of another shape.
DAMAGED = {"sealed.json": "{}", "flow.json": '{"owner": 1}', "starts/x": '{"a": 1}'}


@pytest.fixture(params=some(DAMAGED, {"sealed.json"}))
def damaged(request):
    """A flow run, and which of its documents is damaged: other tests read the registry, too."""
    flow_run_id = run_flow(one).flow_run_id
    path = LocalStage(flow_run_id).path / request.param
    whole = path.read_bytes() if path.exists() else None
    path.write_text(DAMAGED[request.param])
    yield flow_run_id, path
    if whole is None:
        path.unlink()
    else:
        path.write_bytes(whole)


def test_a_document_of_another_shape_is_named(damaged):
    flow_run_id, path = damaged
    with pytest.raises((SealError, DocumentError), match=f"{path} is damaged"):
        seal(flow_run_id)
    if path.name == "sealed.json":
        with pytest.raises(UnreadableError, match="is damaged"):
            load_experiment(flow_run_id)
    done = _command("seal", flow_run_id)
    assert done.returncode == 1
    assert "is damaged" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_registry_that_is_none_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    flow_run_id = run_flow(one).flow_run_id
    looking = [["status"], ["recover"], ["list"], ["du"], ["show", flow_run_id]]
    for arguments in [["seal", flow_run_id], *looking, ["show", "x"], ["pull", "localhost:1/a:b"]]:
        done = _command(*arguments, OMMX_LOCAL_REGISTRY_ROOT=str(tmp_path / "file"))
        assert done.returncode == (1 if arguments[0] == "seal" else 2), arguments
        said = " ".join(done.stderr.split())
        why = "Not a directory" if arguments[0] == "seal" else "is no Local Registry, but a file"
        assert f"{tmp_path / 'file'}" in said
        assert why in said
        assert "Traceback" not in said


def test_a_flow_that_was_refused_for_its_stage_is_not_called_unsealed(caplog):
    @flow(stage="local-file-system/no-such-block")
    def refused():
        double(1)

    with pytest.raises(exceptions.StageError):
        refused()
    assert "is not sealed" not in caplog.text


NIGHT = "0a0b0c0d-2222-4000-8000-000000000002"
FULL = """
import os, pathlib, sys
from ommx_prefect import flow, task

@task
def double(x):
    return 2 * x

@flow
def one():
    return double(1) + double(2)

disk = pathlib.Path(os.environ["DISK"])
with (disk / "ballast").open("wb", buffering=0) as file:
    try:
        while True:
            file.write(b"x" * 4096)
    except OSError:
        pass
state = one(return_state=True)
(disk / "ballast").unlink()
assert state.result() == 6
print(state.state_details.flow_run_id)
"""


def test_a_flow_run_that_could_write_nothing_at_all_is_found_when_there_is_room(tmp_path):
    folder, script = tmp_path / "disk", tmp_path / "full.py"
    (folder / "registry").mkdir(parents=True)
    script.write_text(FULL)
    with small_disk(folder) as disk:
        (disk / "registry").mkdir()
        env = {**os.environ, "DISK": str(disk), "OMMX_LOCAL_REGISTRY_ROOT": str(disk / "registry")}
        ran = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        done = _command("recover", "--json", "--min-age", "0s", **env)
        assert done.returncode == 0, done.stderr
        rows = {row["flow_run_id"]: row for row in json.loads(done.stdout)}
    row = rows[ran.stdout.split()[-1]]
    assert row["done"] == "sealed"
    assert row["sealed"]["counts"] == {"finished": 2}


def test_task_runs_whose_records_are_removed_have_runs_that_say_so():
    """Not one of them is lost in silence, though they were called and never submitted."""

    @flow
    def loses():
        double(1)
        stage = LocalStage(prefect.runtime.flow_run.id)
        for records in ("starts", "shards"):
            shutil.rmtree(stage.path / records)
        double(2)

    sealed = run_flow(loses)
    assert sealed.statuses == ["finished", "finished"]
    assert "is lost or out of reach" in sealed.experiment.annotations["org.ommx-prefect.degraded"]


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        *full(["recover"], ["list"], ["find", "x=1"], ["du"], ["show", NIGHT], ["replay", NIGHT]),
    ],
)
def test_a_registry_that_is_not_there_is_said_and_is_no_success(command, tmp_path):
    missing = tmp_path / "missing"
    done = _command(*command, OMMX_LOCAL_REGISTRY_ROOT=str(missing))
    assert done.returncode == 2
    assert f"There is no Local Registry {missing}" in " ".join(done.stderr.split())
    assert not missing.exists()


def test_ids_of_subflows_and_other_spellings_open_the_same_experiment():
    inner_ids = []

    @flow
    def inner():
        inner_ids.append(str(runtime.flow_run.id))
        double(2)

    @flow
    def outer():
        inner()

    flow_run_id = run_flow(outer).flow_run_id
    whole = load_experiment(flow_run_id).image_name
    for spelling in (inner_ids[0], flow_run_id.upper(), flow_run_id.replace("-", "")):
        assert load_experiment(spelling).image_name == whole
        assert seal(spelling).image_name == whole
        assert json.loads(_command("show", spelling, "--json").stdout)["image"] == whole
