"""Stages that hosts share: one contract for all of them, and what a seal refuses to believe.

Another host is another process with a Local Registry of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import msgpack
import ommx
import prefect
import pytest
from ommx_highs_adapter import OMMXHighsAdapter
from places import (
    SECRET,
    RegistryPlace,
    folder_place,
    fsspec_place,
    local_place,
    require,
    s3_place,
    start_s3,
)
from prefect import get_client
from prefect.blocks.system import Secret
from prefect.filesystems import WritableFileSystem
from prefect.flow_engine import run_flow as run_prefect_flow
from prefect.states import AwaitingRetry
from prefect.task_runners import ProcessPoolTaskRunner
from pydantic import SecretStr
from reading import run_flow, sealed_of
from registry_server import running_registry

from ommx_prefect import (
    _oci_http,
    _seal,
    checkpoint,
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    seal_hooks,
    task,
)
from ommx_prefect._block_remote import BlockRemote
from ommx_prefect._checkpoint_values import Checkpoints
from ommx_prefect._inputs import Redactor
from ommx_prefect._mirrored_stage import MirroredStage
from ommx_prefect._publication import publish
from ommx_prefect._recover import recover
from ommx_prefect._registry import registry_root
from ommx_prefect._shards import Attempt, Shard
from ommx_prefect._stage import DIRECTORY, LocalStage, stage_root
from ommx_prefect._stages import stage_of
from ommx_prefect._survey import waiting_owners

pytestmark = pytest.mark.usefixtures("server")

TAKEN_SECONDS = 120
# What stays of a sealed flow run on the host that sealed it.
KEPT = {"flow.json", "process.json", "sealed.json", "state.json", "released.json"}


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    require("prefect_aws", "moto", "flask", "s3fs")
    process, url = start_s3(tmp_path_factory.mktemp("s3") / "server.log")
    yield url
    process.terminate()
    process.wait(20)


@pytest.fixture
def shared(tmp_path):
    return folder_place(tmp_path, f"folder-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("oci")) as server:
        yield server


# Where the experiment of a flow run ends up with a stage in a registry: in the Local Registry
# without a name there, or in that registry.
EXPERIMENTS = {"oci": None, "oci-composed": "{host}/acme/{name}/night"}


@pytest.fixture(
    params=["local", "local-file-system", "remote-file-system", "s3-bucket", *EXPERIMENTS]
)
def place(request, tmp_path):
    name = f"place-{uuid.uuid4().hex[:8]}"
    if request.param in EXPERIMENTS:
        server = request.getfixturevalue("registry")
        experiment = EXPERIMENTS[request.param]
        experiment = experiment and experiment.format(host=server.host, name=name)
        return RegistryPlace(server, name, experiment)
    if request.param == "local":
        return local_place()
    if request.param == "local-file-system":
        return folder_place(tmp_path, name)
    make = s3_place if request.param == "s3-bucket" else fsspec_place
    return make(request.getfixturevalue("s3"), name)


def knapsack() -> ommx.Instance:
    x = [ommx.DecisionVariable.binary(i) for i in range(3)]
    return ommx.Instance.from_components(
        decision_variables=x,
        objective=2 * x[0] + 3 * x[1] + x[2],
        constraints={0: x[0] + x[1] + x[2] <= 2},
        sense=ommx.Sense.Maximize,
    )


@task
def solve_one(number):
    run = current_run()
    run.log_instance("model", knapsack())
    run.log_parameter("registry", os.environ["OMMX_LOCAL_REGISTRY_ROOT"])
    return run.log_solve(OMMXHighsAdapter, knapsack(), verbose=False).objective + number


@task
def broken():
    current_run().log_json("before", [1, 2])
    raise ValueError("no plan")


@task
def note(x):
    return {"x": x}


# ---------------------------------------------------------------- one contract for every stage


def test_workers_with_other_registries_are_sealed_here(place, tmp_path, monkeypatch):
    other = str(registry_root()) if place.stage == "local" else str(tmp_path / "other")
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", other)

    @flow(
        stage=place.stage,
        experiment=place.experiment,
        task_runner=ProcessPoolTaskRunner(max_workers=1),
    )
    def one():
        current_experiment().log_json("plan", {"hours": 8})
        results = [solve_one.submit(number).result() for number in (10, 20)]
        broken.submit().wait()
        return results

    sealed = run_flow(one)
    assert sealed.state.result() == [15.0, 25.0]
    assert sealed.statuses == ["finished", "finished", "failed"]
    assert sealed.column("registry") == [other, other, None]
    assert [run.get_instance("model").num_variables for run in sealed.runs[:2]] == [3, 3]
    assert [run.get_json("output") for run in sealed.runs[:2]] == [15.0, 25.0]
    solve = sealed.runs[1].solves[0]
    assert (solve.input.num_variables, solve.output.objective) == (3, 5.0)
    assert sealed.runs[2].get_json("before") == [1, 2]
    assert sealed.runs[2].lifecycle_reason == "ValueError: no plan"
    assert sealed.experiment.get_json("plan") == {"hours": 8}
    assert sealed.ledger["flow_run"]["stage"] == place.stage
    _assert_nothing_waits(place, sealed.flow_run_id, other)


@task
def pre_empted():
    checkpoint(incumbent=[0, 0, 1], gap=0.9)
    for gap in (0.3, 0.1):
        checkpoint(incumbent=knapsack(), gap=gap)
    os.kill(os.getpid(), signal.SIGKILL)


@task
def checkpointed(x):
    checkpoint(bound=[x])
    return x


def test_checkpoints_of_a_worker_that_is_lost_with_its_disk_are_sealed_here(
    place, tmp_path, monkeypatch
):
    other = str(registry_root()) if place.stage == "local" else str(tmp_path / "other")
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", other)

    @flow(
        stage=place.stage,
        experiment=place.experiment,
        task_runner=ProcessPoolTaskRunner(max_workers=1),
    )
    def one():
        ended = checkpointed.submit(7).result()
        with contextlib.suppress(Exception):
            pre_empted.submit().result()
        if other != str(registry_root()):
            shutil.rmtree(other)
        return ended

    sealed = run_flow(one)
    assert sealed.state.result() == 7
    assert sealed.statuses == ["finished", "interrupted"]
    assert sealed.runs[0].get_json("bound") == [7]
    assert sealed.runs[1].get_instance("incumbent").num_variables == 3
    assert sealed.column("gap") == [None, 0.1]
    assert "the last of its 3 checkpoints" in sealed.runs[1].lifecycle_reason
    _assert_nothing_waits(place, sealed.flow_run_id)


def test_a_checkpoint_written_while_a_seal_publishes_stays_for_the_next(place, monkeypatch):
    kept = []

    @flow(stage=place.stage, experiment=place.experiment)
    def one():
        owner = str(prefect.runtime.flow_run.id)
        # Of another host, from which nobody hears: it counts as gone.
        attempt = Attempt(owner, owner, 1, "", "slow", "slow-0", 1, "n", 1.0, "another-host", 1)
        stage = stage_of(owner)
        stage.begin(attempt)
        kept.append(Checkpoints(stage, attempt))
        kept[0].save({"gap": 0.5, "plan": [1]}, Redactor({}))

    def publish_after_another_checkpoint(*arguments):
        kept[0].save({"gap": 0.2}, Redactor({}))
        publish(*arguments)

    monkeypatch.setattr(_seal, "publish", publish_after_another_checkpoint)
    sealed = run_flow(one)
    monkeypatch.undo()
    assert (sealed.statuses, sealed.column("gap")) == (["interrupted"], [0.5])
    if place.stage != "local":  # as on the host that seals, where the attempt did not run
        shutil.rmtree(LocalStage(sealed.flow_run_id).path / "checkpoints")
    assert seal(sealed.flow_run_id).counts == {"interrupted": 1}
    again = load_experiment(sealed.flow_run_id)
    assert again.run_parameters_df()["gap"].tolist() == [0.2]
    assert again.runs[0].get_json("plan") == [1]
    _assert_nothing_waits(place, sealed.flow_run_id)


def test_async_flows_and_tasks_write_and_seal(place):
    @task
    async def later(x):
        await asyncio.sleep(0)
        current_run().log_json("seen", x)
        return x + 1

    @flow(stage=place.stage, experiment=place.experiment)
    async def one():
        current_experiment().log_json("kind", "async")
        note(0)
        return [await later(1), await later(2)]

    sealed = sealed_of(asyncio.run(one(return_state=True)))
    assert [run.get_json("output") for run in sealed.runs] == [{"x": 0}, 2, 3]
    assert [run.get_json("seen") for run in sealed.runs[1:]] == [1, 2]
    assert sealed.experiment.get_json("kind") == "async"
    _assert_nothing_waits(place, sealed.flow_run_id)


def test_a_failed_flow_run_keeps_what_a_retry_elsewhere_needs(place):
    @flow(stage=place.stage, experiment=place.experiment)
    def one():
        note(1)
        raise ValueError("first")

    sealed = run_flow(one)
    assert sealed.experiment.status == "failed"
    waiting = {name.split("/")[1] for name in place.objects(sealed.flow_run_id)}
    assert ("shards" in waiting) is (place.stage != "local")
    assert seal(sealed.flow_run_id) == seal(sealed.flow_run_id)


def _assert_nothing_waits(place, flow_run_id, registry=None):
    names = {name.split("/", 1)[1] for name in place.objects(flow_run_id)}
    assert names <= KEPT
    assert names == set() or place.stage == "local"
    for root in {str(registry_root()), registry or str(registry_root())}:
        stage = Path(root) / DIRECTORY / flow_run_id
        left = {path.name for path in stage.rglob("*") if path.is_file() and path.name[0] != "."}
        assert left <= KEPT


# ---------------------------------------------------------------- when the place goes away


@pytest.fixture(params=["local-file-system", "s3-bucket", "oci"])
def fickle(request, tmp_path, monkeypatch):
    name = f"fickle-{uuid.uuid4().hex[:8]}"
    if request.param == "oci":
        for table in (_oci_http.RETRY, _oci_http.BRIEF_RETRY):
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
    _assert_nothing_waits(fickle, flow_run_id)


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
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == returns, done.stdout + done.stderr
    return next((x for x in json.loads(done.stdout) if x["owner"] == flow_run_id), None)


def test_recover_sends_the_start_of_an_attempt_that_was_killed_before_it_could(shared):
    owner = str(uuid.uuid4())
    stage = MirroredStage(owner, shared.stage)
    attempt = Attempt(owner, owner, 1, str(uuid.uuid4()), "t", "t-0", 1, "n", 1.0, "elsewhere", 1)
    shared.go_away()
    stage.begin(attempt)
    shared.come_back()
    assert LocalStage(owner).starts() == [attempt]
    done = {row.owner: row.done for row in recover(min_age_seconds=0)}
    assert done[owner] == "sent"
    assert list(shared.objects(owner)) == [f"{owner}/starts/{attempt.key}"]
    assert LocalStage(owner).starts() == []


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
    assert seal(state.state_details.flow_run_id).counts == {"finished": 1}


# ---------------------------------------------------------------- what a seal does not believe


def _archive(data):
    return msgpack.unpackb(data)


def _with_blob(data, change):
    archive = _archive(data)
    name = next(iter(archive["blobs"]))
    change(archive["blobs"], name)
    return msgpack.packb(archive)


def _foreign(data):
    archive = _archive(data)
    shard = msgpack.unpackb(archive["shard"])
    shard["attempt"]["owner"] = str(uuid.uuid4())
    return msgpack.packb({**archive, "shard": msgpack.packb(shard)})


def _other_config(data):
    archive = _archive(data)
    shard = msgpack.unpackb(archive["shard"])
    shard["documents"]["config"] += b" "
    return msgpack.packb({**archive, "shard": msgpack.packb(shard)})


# What was done to the object of a shard -> its new bytes, and what the refusal says.
DAMAGE = {
    "a changed payload": (
        lambda data: _with_blob(data, lambda blobs, name: blobs.update({name: b"other"})),
        "5 bytes with digest",
    ),
    "a lost payload": (
        lambda data: _with_blob(data, lambda blobs, name: blobs.pop(name)),
        "it lacks blob",
    ),
    "a payload of nobody's": (
        lambda data: _with_blob(data, lambda blobs, _: blobs.update({"0" * 64: b""})),
        "its shard does not name",
    ),
    "changed documents": (_other_config, "with digest"),
    "a shard of another flow run": (_foreign, "it belongs to flow run"),
    "half of it": (lambda data: data[: len(data) // 2], "no shard archive"),
    "a text": (lambda _: b"hello", "no shard archive"),
    "a later format": (
        lambda data: msgpack.packb({**_archive(data), "format": "v2"}),
        "format 'v2' is not",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_refused_by_name_and_the_rest_is_sealed_once_it_is_gone(shared, damage):
    change, said = DAMAGE[damage]
    names = []

    @flow(stage=shared.stage)
    def one():
        note("kept")
        before = shared.objects(prefect.runtime.flow_run.id)
        note("damaged")
        after = shared.objects(prefect.runtime.flow_run.id)
        names.extend(name for name in after.keys() - before.keys() if "/shards/" in name)
        shared.put(names[0], change(after[names[0]]))

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    assert state.is_completed()
    with pytest.raises(exceptions.SealError, match=said) as caught:
        seal(flow_run_id)
    assert f"{names[0]} in stage '{shared.stage}' is refused" in str(caught.value)
    shared.delete(names[0])
    assert seal(flow_run_id).counts == {"finished": 2}
    experiment = load_experiment(flow_run_id)
    assert experiment.runs[0].get_json("output") == {"x": "kept"}
    # That the other attempt began is still known, and that its record is gone is said.
    assert experiment.runs[1].attachment_names == []
    assert "its record is lost" in experiment.annotations["org.ommx-prefect.degraded"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("readme.txt", b"hello"),
        ("shards/1/2", b"hello"),
        ("starts/abc", b"[]"),
        ("starts/abc", b"{"),
        ("subflows/abc", b"[]"),
        ("subflows/abc", b'{"flow_run_id": "another"}'),
    ],
)
def test_an_object_that_is_no_record_of_this_flow_run_is_refused_by_name(shared, name, data):
    @flow(stage=shared.stage)
    def one():
        note(1)
        shared.put(f"{prefect.runtime.flow_run.id}/{name}", data)

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    with pytest.raises(exceptions.SealError, match=f"{flow_run_id}/{name} in stage"):
        seal(flow_run_id)
    shared.delete(f"{flow_run_id}/{name}")
    assert seal(flow_run_id).counts == {"finished": 1}


def test_a_shard_under_the_name_of_another_is_refused(shared):
    @flow(stage=shared.stage)
    def one():
        note(1)
        objects = shared.objects(prefect.runtime.flow_run.id)
        found = next(name for name in objects if "/shards/" in name)
        shared.put(f"{found}x", objects[found])

    state = one(return_state=True)
    with pytest.raises(exceptions.SealError, match="it is the record of"):
        seal(state.state_details.flow_run_id)


# ---------------------------------------------------------------- sealed on another host

ELSEWHERE = """
import json, sys
from ommx_prefect import current_experiment, flow, load_experiment, seal, task

@task
def note(x):
    return x

@flow(stage={stage!r}, experiment="ghcr.io/acme/elsewhere:{{flow_run.name}}")
def one(fail=True):
    note(int(fail))
    if fail:
        raise ValueError("first")

if sys.argv[1:] == ["run"]:
    print(one(return_state=True).state_details.flow_run_id)
elif sys.argv[1:]:
    seal(sys.argv[1], stage={stage!r})
    experiment = load_experiment(sys.argv[1])
    outputs = [run.get_json("output") for run in experiment.runs]
    print(json.dumps([experiment.status, outputs]))
"""


def _on_another_host(script, registry, *arguments):
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(registry)}
    env.pop("PREFECT_INTEGRATIONS_OMMX_STAGE", None)
    ran = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=env, capture_output=True, text=True, timeout=TAKEN_SECONDS, check=True,
    )  # fmt: skip
    return ran.stdout.splitlines()[-1]


def test_a_retry_on_another_host_gives_one_experiment_with_all_runs(shared, tmp_path, monkeypatch):
    script = tmp_path / "elsewhere.py"
    script.write_text(textwrap.dedent(ELSEWHERE.format(stage=shared.stage)))
    flow_run_id = _on_another_host(script, tmp_path / "first", "run")
    # A third host that never saw the flow run seals it as well: nothing is used up.
    seen = json.loads(_on_another_host(script, tmp_path / "third", flow_run_id))
    assert seen == ["failed", [1]]

    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", ["elsewhere"])
    from elsewhere import one
    from prefect.flow_engine import run_flow as run_again

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), AwaitingRetry(), force=True)
        flow_run = client.read_flow_run(uuid.UUID(flow_run_id))
    run_again(one, flow_run=flow_run, parameters={"fail": False})
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "finished"
    assert [run.get_json("output") for run in experiment.runs] == [1, 0]
    assert experiment.run_parameters_df()["prefect.flow_attempt"].tolist() == [1, 2]
    assert experiment.image_name.startswith("ghcr.io/acme/elsewhere:")
    assert shared.objects(flow_run_id) == {}
    # The first host knows the failed attempt only, and does not publish that as the whole.
    with pytest.raises(subprocess.CalledProcessError) as refused:
        _on_another_host(script, tmp_path / "first", flow_run_id)
    assert "another host has sealed it as finished" in refused.value.stderr
    assert shared.objects(flow_run_id) == {}


def test_a_flow_run_that_finishes_fails_and_finishes_again_is_sealed_each_time(shared):
    wanted = ["finished", "failed", "finished"]
    flow_run_id = None

    @flow(stage=shared.stage)
    def one(status):
        note(status)
        if status == "failed":
            raise ValueError("no")

    for number, status in enumerate(wanted):
        if flow_run_id is None:
            flow_run_id = str(one(status, return_state=True).state_details.flow_run_id)
        else:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(uuid.UUID(flow_run_id), AwaitingRetry(), force=True)
                flow_run = client.read_flow_run(uuid.UUID(flow_run_id))
            with contextlib.suppress(ValueError):
                run_prefect_flow(one, flow_run=flow_run, parameters={"status": status})
        experiment = load_experiment(flow_run_id)
        assert experiment.status == status
        seen = [run.get_json("output")["x"] for run in experiment.runs]
        assert seen == wanted[: number + 1]


def test_a_record_that_only_a_failed_host_has_reaches_the_retry_elsewhere(shared):
    @flow(stage=shared.stage)
    def one():
        shared.go_away()
        note(1)
        shared.come_back()
        raise ValueError("first")

    sealed = run_flow(one)
    assert sealed.experiment.status == "failed"
    assert any("/shards/" in name for name in shared.objects(sealed.flow_run_id))


def test_a_record_that_comes_after_the_seal_extends_the_experiment(shared):
    kept = {}

    @flow(stage=shared.stage)
    def one():
        note(1)
        # No task run: Prefect would tell of one whose record is missing.
        with current_experiment().run() as run:
            run.log_json("output", {"x": 2})
        objects = shared.objects(prefect.runtime.flow_run.id)
        name = next(name for name in objects if "/shards/run-" in name)
        kept[name] = objects[name]
        shared.delete(name)
        shared.delete(name.replace("/shards/", "/starts/"))

    sealed = run_flow(one)
    assert seal(sealed.flow_run_id).counts == {"finished": 1}
    for _ in range(2):  # the second time as after a seal that was cut off before it cleaned up
        for name, data in kept.items():
            shared.put(name, data)
        assert seal(sealed.flow_run_id).counts == {"finished": 2}
        assert shared.objects(sealed.flow_run_id) == {}


def test_an_attempt_that_was_cut_off_on_another_host_is_interrupted(shared):
    @flow(stage=shared.stage)
    def one():
        note(1)
        flow_run_id = prefect.runtime.flow_run.id
        objects = shared.objects(flow_run_id)
        name = next(name for name in objects if "/starts/" in name)
        start = json.loads(objects[name])
        start.update(task_run_id="", host="elsewhere", nonce="abc")
        shared.put(f"{flow_run_id}/starts/run-1-abc", json.dumps(start).encode())

    sealed = run_flow(one)
    assert sorted(sealed.statuses) == ["finished", "interrupted"]
    assert any("elsewhere" in (run.lifecycle_reason or "") for run in sealed.runs)
    assert shared.objects(sealed.flow_run_id) == {}


# ---------------------------------------------------------------- which stage


def test_subflows_and_rollbacks_reach_the_stage_of_the_enclosing_flow(shared):
    from prefect.transactions import transaction

    @flow
    def inner():
        note(2)

    @flow(stage=shared.stage)
    def one():
        inner()
        with contextlib.suppress(ValueError), transaction():
            note(3)
            raise ValueError("undo")
        return shared.objects(prefect.runtime.flow_run.id).keys()

    sealed = run_flow(one)
    kinds = {name.split("/")[1] for name in sealed.state.result()}
    assert kinds >= {"flow.json", "subflows", "rolled-back", "shards"}
    assert sealed.column("prefect.state") == ["Completed", "RolledBack"]
    assert [subflow["flow"] for subflow in sealed.ledger["subflows"]] == ["inner"]
    assert shared.objects(sealed.flow_run_id) == {}


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
    assert sealed.flow_run_id not in waiting_owners()


def test_the_settings_name_the_stage_of_flows_that_name_none(shared, monkeypatch):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_STAGE", shared.stage)

    @flow
    def from_settings():
        note(1)

    @flow(stage="local")
    def here():
        note(1)

    assert run_flow(from_settings).ledger["flow_run"]["stage"] == shared.stage
    assert run_flow(here).ledger["flow_run"]["stage"] == "local"


def test_seal_hooks_take_a_stage_too(shared):
    waiting = []

    @prefect.flow(**seal_hooks(stage=shared.stage))
    def one():
        note(1)
        waiting.extend(shared.objects(prefect.runtime.flow_run.id))

    sealed = run_flow(one)
    assert any("/shards/" in name for name in waiting)
    assert sealed.statuses == ["finished"]
    assert shared.objects(sealed.flow_run_id) == {}


def test_seal_hooks_go_on_in_the_local_registry_where_the_stage_cannot_be_used():
    @prefect.flow(**seal_hooks(stage="local-file-system/there-is-none"))
    def one():
        note(1)

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"]
    assert sealed.ledger["flow_run"]["stage"] == "local"


class Shelf(WritableFileSystem):
    """A block that reads and writes, and cannot list."""

    _block_type_slug = "ommx-test-shelf"

    token: SecretStr = SecretStr("shelf-token-1234")

    async def read_path(self, path: str) -> bytes:
        raise ValueError(f"{self.token.get_secret_value()} may not read {path}")

    async def write_path(self, path: str, content: bytes) -> None:
        raise ValueError(f"{self.token.get_secret_value()} may not write {path}")


def _refusal_of(stage):
    ran = []

    @flow(stage=stage)
    def one():
        ran.append(1)

    with pytest.raises(exceptions.StageError) as caught:
        one()
    assert ran == []
    return str(caught.value)


def test_a_block_that_does_not_exist_is_refused_when_the_flow_starts():
    said = _refusal_of("local-file-system/there-is-none")
    assert "stage='local-file-system/there-is-none' cannot be used" in said
    assert "Save it first" in said


def test_a_block_that_cannot_list_is_refused_when_the_flow_starts():
    Shelf().save("shelf", overwrite=True)
    assert "Use a block of the type local-file-system, remote-file-system" in _refusal_of(
        "ommx-test-shelf/shelf"
    )
    Secret(value="not-a-file-system").save("no-stage", overwrite=True)
    said = _refusal_of("secret/no-stage")
    assert "cannot list what a Secret holds" in said
    assert "not-a-file-system" not in said


def test_a_bucket_that_is_not_there_is_refused_when_the_flow_starts(s3):
    place = s3_place(s3, f"gone-{uuid.uuid4().hex[:8]}")
    place.go_away()
    said = _refusal_of(place.stage)
    assert "could not list" in said
    assert SECRET not in said


def test_a_text_that_names_no_stage_is_refused_at_once():
    for text in ("s3-bucket", "", "S3 Bucket/shards"):
        with pytest.raises(exceptions.StageError, match="type-slug/name"):
            flow(stage=text)(print)


def test_what_a_block_says_is_shown_without_its_secrets():
    shelf = BlockRemote("ommx-test-shelf/shelf", Shelf())
    for call in (lambda: shelf.read("a"), lambda: shelf.write("a", b"")):
        with pytest.raises(exceptions.StageError, match=r"\*\*redacted\*\* may not") as caught:
            call()
        assert "shelf-token" not in repr(caught.value)
        assert caught.value.__suppress_context__


def test_a_shard_survives_the_way_there_and_back_bit_by_bit(shared):
    found = {}

    @flow(stage=shared.stage)
    def one():
        note(1)
        objects = shared.objects(prefect.runtime.flow_run.id)
        found.update({n: d for n, d in objects.items() if "/shards/" in n})

    sealed = run_flow(one)
    archive = _archive(next(iter(found.values())))
    assert archive["format"] == "application/vnd.ommx-prefect.shard.v1+msgpack"
    shard = Shard.from_bytes(archive["shard"])
    assert shard.to_bytes() == archive["shard"]
    assert shard.attempt.owner == sealed.flow_run_id
    assert (stage_root() / sealed.flow_run_id / "sealed.json").exists()
