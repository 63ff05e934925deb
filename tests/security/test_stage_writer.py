"""Whoever may write to a shared stage plays with it; the host that seals loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ommx.experiment import Experiment

from ommx_prefect import exceptions
from ommx_prefect._format.encode import encode
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._shards.archive import payload_layers
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import KINDS
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.testing._scene import attempt_of, documents_of, new_id
from tests.security.scene import (
    FAILED,
    FINISHED,
    Disk,
    as_fields,
    layer_of,
    one_run,
    points_to,
    record_of,
    recorded,
    seal_now,
    sealed_here,
)

HOST_KINDS = [kind.name for kind in KINDS.values() if kind.reach == "host" and kind.name[0] != "."]
FAR = "9999-01-01T00:00:00+00:00"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "shared")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.tex").write_text("all of it")
    return folder


def publication(flow_run_id: str, cut_off: dict[str, int], keys: tuple[str, ...] = ()) -> bytes:
    sealed = {
        "flow_run_id": flow_run_id,
        "image_name": "registry.example/acme/x:one",
        "manifest_digest": f"sha256:{'0' * 64}",
        "status": "finished",
        "counts": {},
        "stored_name": "registry.example/acme/x:one",
    }
    fields = {"format": 1, "sealed": sealed, "names": {}, "keys": list(keys), "cut_off": cut_off}
    return json.dumps(fields).encode()


@pytest.mark.parametrize("name", HOST_KINDS)
def test_what_is_the_sealing_hosts_own_is_refused_in_the_shared_place(disk, tmp_path, name):
    flow_run_id = recorded(disk, tmp_path)
    disk.plant(f"{flow_run_id}/{name}", publication(flow_run_id, {str(tmp_path): 0}))
    with pytest.raises(exceptions.SealError, match="is refused") as caught:
        seal_now(disk.seen_by(flow_run_id))
    assert f"{flow_run_id}/{name}" in str(caught.value)
    here = LocalStage(flow_run_id).path / name
    assert not here.is_file() or "stage" in json.loads(here.read_text())


def test_no_path_in_a_document_removes_a_folder(precious, tmp_path):
    """Even in the host's own folder: the names of what is removed come from listing it."""
    sealed = sealed_here(new_id(), image_name=f"registry.example/acme/own:{new_id()}")
    stage = LocalStage(sealed.flow_run_id)
    document = json.loads(publication(sealed.flow_run_id, {str(precious): 0}, (str(precious),)))
    for name in ("manifest_digest", "image_name", "stored_name"):
        document["sealed"][name] = getattr(sealed, name)
    document["names"] = {sealed.stored_name: sealed.manifest_digest}
    (stage.path / "sealing.json").write_text(json.dumps(document))
    with pytest.raises(exceptions.SealError, match=r"sealing\.json"):
        seal_now(stage)
    stage.discard([str(precious)])
    stage.discard_starts([str(precious / "thesis.tex")])
    CheckpointFiles(stage).discard({str(precious): 0, "..": 9})
    assert (precious / "thesis.tex").read_text() == "all of it"


def test_a_ledger_with_a_path_as_key_removes_nothing(precious):
    """Whoever can push to the repository of an experiment writes its ledger."""
    from ommx_prefect._sealing.ledger import Entry

    fields = dict.fromkeys(("task_run_id", "flow_run_id", "task", "task_run", "host"), "x")
    fields |= {"parent_task_run_id": "", "state": "Completed"}
    row = {**fields, "run_id": 0, "key": str(precious), "started_at": 1.0, "attempt": 1}
    with pytest.raises(exceptions.DocumentError, match="key"):
        Entry.from_json({**row, "notes": []}, one_run(layer_of(f"sha256:{'0' * 64}")).runs[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("started_at", float("nan")),
        ("started_at", float("inf")),
        ("started_at", -1.0),
        ("attempt", -1),
        ("task", "x" * 2_000_000),
        ("notes", ["x" * 2_000_000]),
    ],
    ids=range(6),
)
def test_a_ledger_has_no_text_without_end_and_no_number_that_is_none(field, value):
    from ommx_prefect._sealing.ledger import Entry

    fields = dict.fromkeys(("task_run_id", "flow_run_id", "task", "task_run", "host"), "x")
    fields |= {"parent_task_run_id": "", "state": "Completed", "key": "x-1-n"}
    row = {**fields, "run_id": 0, "started_at": 1.0, "attempt": 1, "notes": []}
    record = one_run(layer_of(f"sha256:{'0' * 64}")).runs[0]
    assert Entry.from_json(row, record).started_at == 1.0
    with pytest.raises(exceptions.DocumentError, match=f"its field '{field}.*is wrong"):
        Entry.from_json({**row, field: value}, record)


@pytest.mark.parametrize("end", [FINISHED, FAILED], ids=["finished", "failed"])
def test_a_planted_flow_record_moves_no_name_of_another_flow(disk, tmp_path, end):
    name = f"registry.example/acme/{new_id()}:night"
    latest = name.replace(":night", ":latest")
    mine = sealed_here(new_id(), image_name=name, flow="payroll", aliases=("latest",))
    flow_run_id = recorded(disk, tmp_path)
    planted = as_fields(
        record_of(disk.seen_by(flow_run_id)),
        image_name=name,
        replace=True,
        aliases=["latest"],
        flow="payroll",  # what a record says of its flow is no proof
    )
    disk.plant(f"{flow_run_id}/flow.json", planted)
    sealed = seal_now(disk.seen_by(flow_run_id), end)
    assert points_to(name) == points_to(latest) == mine.manifest_digest
    assert sealed.image_name != name
    assert sealed.warnings


def test_a_planted_flow_record_is_given_no_night_of_another_flow(disk, tmp_path):
    """Else payload of this host would go where the planter's image name says."""
    repository = f"registry.example/acme/{new_id()}"
    times = [f"2026-11-0{day}T02:00:00+00:00" for day in (1, 2, 3)]
    told = {"flow": "payroll", "lineage": "accumulate"}
    sealed_here(new_id(), image_name=f"{repository}:1", flow="payroll", scheduled_time=times[0])
    own = sealed_here(new_id(), image_name=f"{repository}:2", scheduled_time=times[1], **told)
    assert len(Experiment.load(own.image_name).runs) == 2

    flow_run_id = recorded(disk, tmp_path)
    record = record_of(disk.seen_by(flow_run_id))
    planted = as_fields(record, image_name=f"{repository}:3", scheduled_time=times[2], **told)
    disk.plant(f"{flow_run_id}/flow.json", planted)
    sealed = seal_now(disk.seen_by(flow_run_id))
    assert len(Experiment.load(sealed.image_name).runs) == 1
    assert "this host did not start the flow run" in " ".join(sealed.warnings)


def test_a_planted_time_in_the_far_future_is_refused(disk, tmp_path):
    flow_run_id = recorded(disk, tmp_path)
    disk.plant(
        f"{flow_run_id}/flow.json",
        as_fields(record_of(disk.seen_by(flow_run_id)), scheduled_time=FAR),
    )
    with pytest.raises(exceptions.OmmxPrefectError, match=r"flow\.json.*scheduled_time"):
        seal_now(disk.seen_by(flow_run_id))


def test_a_planted_flow_record_without_a_name_is_refused_by_name(disk, tmp_path):
    """Only that of a subflow has none; the seal failed over a name that it had made of nothing."""
    flow_run_id = recorded(disk, tmp_path)
    disk.plant(
        f"{flow_run_id}/flow.json", as_fields(record_of(disk.seen_by(flow_run_id)), image_name="")
    )
    with pytest.raises(exceptions.OmmxPrefectError, match=r"flow\.json.*it has no image_name"):
        seal_now(disk.seen_by(flow_run_id))


def test_a_flow_record_that_names_another_experiment_is_refused(disk, tmp_path):
    """Else the seal goes on with another flow run, in a stage of the planter's choice."""
    flow_run_id = recorded(disk, tmp_path)
    other = as_fields(
        record_of(disk.seen_by(flow_run_id)),
        root_flow_run_id=new_id(),
        stage="oci://evil.example/x",
    )
    disk.plant(f"{flow_run_id}/flow.json", other)
    with pytest.raises(exceptions.OmmxPrefectError, match=r"flow\.json.*is refused"):
        seal_now(disk.seen_by(flow_run_id))


def test_where_a_planted_record_says_that_it_waits_nobody_looks(disk, tmp_path):
    from ommx_prefect._stages.resolve import stage_of

    flow_run_id = recorded(disk, tmp_path)
    planted = as_fields(record_of(disk.seen_by(flow_run_id)), stage="oci://evil.example/x")
    disk.plant(f"{flow_run_id}/flow.json", planted)
    disk.plant(f"{flow_run_id}/shards/x-1-n", b"garbage")
    with pytest.raises(exceptions.SealError):
        seal_now(disk.seen_by(flow_run_id))
    assert stage_of(flow_run_id).name == disk.store.name


@pytest.mark.parametrize(
    "digest", ["sha256:../../../../precious", "sha256:/etc/hostname", "../x", "sha256:" + "A" * 64]
)
def test_a_digest_that_is_a_path_is_no_digest(disk, tmp_path, digest):
    """As in an OCI stage whose registry is fooled: nothing checks the layers of a shard there."""
    documents = encode(one_run(layer_of(digest)))
    flow_run_id = new_id()
    attempt = attempt_of(flow_run_id)
    for use in (
        lambda: disk.seen_by(flow_run_id).bring(digest),
        lambda: LocalStage(flow_run_id).bring(digest),
        lambda: LocalStage(flow_run_id).pin(payload_layers(documents)),
        lambda: CheckpointFiles(LocalStage(flow_run_id)).put(
            Shard(attempt, "finished", documents=documents), {digest: b"chosen"}
        ),
        lambda: blob_path(digest),
    ):
        with pytest.raises(exceptions.DocumentError, match="digest"):
            use()


def test_payload_of_the_local_registry_that_is_not_of_the_flow_run_is_not_given_out(disk, tmp_path):
    """A record in the stage names a blob that only this host has: of somebody else's experiment."""
    secret = documents_of({"salaries": new_id()})
    flow_run_id = recorded(disk, tmp_path)
    stage = disk.seen_by(flow_run_id)

    (layer,) = payload_layers(secret)
    assert blob_path(layer.digest).exists()
    with pytest.raises(exceptions.StageError, match=layer.digest):
        stage.bring(layer.digest)
    with pytest.raises(exceptions.StageError, match=layer.digest):
        stage.pin(payload_layers(secret))
    assert not (stage.path / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")).exists()


def test_a_key_with_a_path_is_no_key(disk, tmp_path):
    flow_run_id = new_id()
    attempt = replace(attempt_of(flow_run_id), nonce="../../../precious")
    stage = LocalStage(flow_run_id)
    for use in (
        lambda: stage.begin(attempt),
        lambda: stage.put(Shard(attempt, "finished")),
        lambda: CheckpointFiles(stage).put(Shard(attempt, "finished"), {}),
        lambda: disk.seen_by(flow_run_id).begin(attempt),
        lambda: disk.seen_by(flow_run_id).put(Shard(attempt, "finished")),
    ):
        with pytest.raises(exceptions.DocumentError, match="key"):
            use()
    assert list(disk.folder.rglob("*precious*")) == []


@pytest.mark.parametrize("flow_run_id", ["..", "a/b", "/etc", "", ".x", "a" * 300])
def test_a_flow_run_id_that_is_a_path_has_no_stage(flow_run_id):
    with pytest.raises(exceptions.DocumentError, match="flow run"):
        LocalStage(flow_run_id)
