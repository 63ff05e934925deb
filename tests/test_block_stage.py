"""A stage in a storage block: when it is away, what a seal refuses, and which stage a flow has."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid

import msgpack
import prefect
import pytest
from places import (
    SECRET,
    RegistryPlace,
    assert_nothing_waits,
    folder_place,
    fsspec_place,
    s3_place,
)
from prefect.blocks.system import Secret
from prefect.filesystems import WritableFileSystem
from prefect.task_runners import ProcessPoolTaskRunner
from pydantic import SecretStr
from reading import run_flow, sealed_of
from stage_tasks import knapsack, note

from ommx_prefect import (
    _oci_http,
    checkpoint,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    seal_hooks,
    task,
)
from ommx_prefect._block_remote import BlockRemote, open_remote
from ommx_prefect._mirrored_stage import MirroredStage
from ommx_prefect._recover import recover
from ommx_prefect._registry import registry_root
from ommx_prefect._shards import Attempt, Shard
from ommx_prefect._stage import DIRECTORY, LocalStage, stage_root
from ommx_prefect._survey import waiting_owners

pytestmark = pytest.mark.usefixtures("server")

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
    assert seal(state.state_details.flow_run_id).counts == {"failed": 1}
    sealed = sealed_of(state)
    assert sealed.runs[0].status == "failed"
    assert "could not write" in sealed.runs[0].lifecycle_reason
    assert sealed.column("prefect.state") == ["Failed"]


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


def test_an_object_that_another_host_replaces_after_the_listing_is_read_whole(s3):
    place = fsspec_place(s3, f"replaced-{uuid.uuid4().hex[:8]}")
    remote = open_remote(place.stage)
    for data in (b"the first checkpoint", b"2nd", b"a checkpoint that has become longer"):
        place.put("owner/parts/latest", data)
        assert remote.read("owner/parts/latest") == data
        assert remote.names("owner/") == ["owner/parts/latest"]


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
