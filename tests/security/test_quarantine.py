"""Damaged records are all named, set aside where somebody says so, and hold up nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ommx_prefect import exceptions, load_experiment
from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import ExperimentRecord
from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.recover import recover
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages import resolve
from ommx_prefect._stages.checkpoints import NUMBER
from ommx_prefect._stages.damage import damage_error
from ommx_prefect._stages.documents import FLOW_RECORD, STATE_RECORD, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id, shard_of
from tests.security.fuzzing.scenes import small
from tests.security.scene import FAILED, FINISHED, Disk, seal_now
from tests.support.folder_registry import folder_registry


def broken(path):
    """Flip a bit, as a disk does."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    return bytes(data)


def reasons(flow_run_id):
    runs = load_experiment(flow_run_id).runs
    return [(run.status, run.lifecycle_reason) for run in runs]


@pytest.fixture
def three():
    """A flow run of this host with three attempts, of which two left damaged records."""
    stage = LocalStage(new_id())
    name = f"registry.example/acme/{stage.flow_run_id}:one"
    record = replace(flow_record(stage.flow_run_id), stage="local", image_name=name)
    write_document(stage, FLOW_RECORD, record)
    write_document(stage, STATE_RECORD, FINISHED)
    attempts = [attempt_of(stage.flow_run_id, number) for number in (1, 2, 3)]
    for attempt in attempts:
        stage.put(shard_of(attempt, {"of": attempt.key}))
    bad = [stage.path / "shards" / attempt.key for attempt in attempts[1:]]
    return stage, bad, [broken(path) for path in bad]


def test_each_damaged_record_is_named_with_what_can_be_done(three):
    stage, bad, _ = three
    with pytest.raises(exceptions.SealError) as caught:
        seal_now(stage)
    for said in (
        *(f"shards/{path.name}" for path in bad),
        f"ommx-prefect seal --quarantine {stage.flow_run_id}",
    ):
        assert said in str(caught.value)
    (row,) = [row for row in recover(min_age_seconds=0) if row.flow_run_id == stage.flow_run_id]
    assert row.done == "failed"
    assert f"ommx-prefect seal --quarantine {stage.flow_run_id}" in row.why


def test_the_rest_is_sealed_and_what_is_damaged_is_kept_and_told_of(three):
    stage, bad, data = three
    sealed = seal_by_hand(stage.flow_run_id, quarantine=True)
    assert sealed.counts == {"finished": 1, "interrupted": 2}
    assert sorted(reasons(stage.flow_run_id), key=str) == [
        ("finished", None),
        ("interrupted", "its record is damaged"),
        ("interrupted", "its record is damaged"),
    ]
    said = next(x for x in sealed.warnings if "were set aside" in x)
    assert all(path.name in said for path in bad)
    kept = stage.path / "quarantine"
    found = {(kept / f"shards.{path.name}.reported").read_bytes() for path in bad}
    assert found == set(data)
    assert seal_by_hand(stage.flow_run_id) == sealed


def test_a_record_that_was_mended_later_takes_the_place_of_its_run(three):
    stage, bad, data = three
    seal_by_hand(stage.flow_run_id, quarantine=True)
    for path, broken_data in zip(bad, data, strict=True):
        mended = bytearray(broken_data)
        mended[len(mended) // 2] ^= 4
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mended)
    sealed = seal_by_hand(stage.flow_run_id)
    assert sealed.counts == {"finished": 3}


@pytest.fixture
def disk(tmp_path, monkeypatch):
    made = Disk(tmp_path / "shared")
    monkeypatch.setattr(resolve, "store_at", lambda name: made.store)
    return made


def test_what_is_damaged_in_a_shared_place_is_set_aside_and_not_kept_when_it_was_mended(
    disk, tmp_path
):
    flow_run_id = new_id()
    worker = Host(tmp_path / flow_run_id, flow_run_id, disk.store)
    write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
    attempts = [attempt_of(flow_run_id, number) for number in (1, 2, 3)]
    for attempt in attempts:
        worker.stage.put(shard_of(attempt, {"of": attempt.key}))
    paths = [disk.folder / flow_run_id / "shards" / attempt.key for attempt in attempts]
    before = paths[2].read_bytes()
    for path in paths[1:]:
        broken(path)
    disk.plant(f"{flow_run_id}/readme.txt", b"hello")
    with pytest.raises(exceptions.SealError) as caught:
        seal_now(disk.seen_by(flow_run_id), FAILED)
    for name in (*(path.name for path in paths[1:]), "readme.txt", "--quarantine"):
        assert name in str(caught.value)
    paths[2].write_bytes(before)  # mended: no bad copy is kept
    stage = LocalStage(flow_run_id)
    write_document(stage, STATE_RECORD, FAILED)
    sealed = seal_by_hand(flow_run_id, quarantine=True, stage="local-file-system/shared")
    assert sealed.counts == {"finished": 2, "interrupted": 1}
    assert ("interrupted", "its record is damaged") in reasons(flow_run_id)


def no_run_at_all(attempt):
    return "shards", Shard(attempt, "finished", documents=encode(ExperimentRecord("finished", ())))


def a_checkpoint_without_end(attempt):
    return "checkpoints", Shard(attempt, "interrupted", parameters={NUMBER: float("inf")})


@pytest.mark.parametrize("planted", [no_run_at_all, a_checkpoint_without_end])
def test_a_shared_record_that_parses_and_is_no_attempt_s_is_set_aside(disk, tmp_path, planted):
    flow_run_id = new_id()
    worker = Host(tmp_path / flow_run_id, flow_run_id, disk.store)
    write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
    worker.stage.put(shard_of(attempt_of(flow_run_id), {"of": flow_run_id}))
    folder, shard = planted(attempt_of(flow_run_id, 2))
    name = f"{folder}/{shard.attempt.key}"
    disk.store.put_shard(f"{flow_run_id}/{name}", shard, blob_path)
    with pytest.raises(exceptions.SealError, match=f"{name} in stage .* is refused"):
        seal_now(disk.seen_by(flow_run_id), FINISHED)
    write_document(LocalStage(flow_run_id), STATE_RECORD, FINISHED)
    sealed = seal_by_hand(flow_run_id, quarantine=True, stage="local-file-system/shared")
    assert sealed.counts == {"finished": 1, "interrupted": 1}
    assert any(name in warning for warning in sealed.warnings)


def test_a_damaged_flow_record_costs_the_name_and_nothing_else(disk, tmp_path):
    flow_run_id = new_id()
    worker = Host(tmp_path / flow_run_id, flow_run_id, disk.store)
    write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
    worker.stage.put(shard_of(attempt_of(flow_run_id), {"of": flow_run_id}))
    broken(disk.folder / flow_run_id / FLOW_RECORD)
    write_document(LocalStage(flow_run_id), STATE_RECORD, FINISHED)
    sealed = seal_by_hand(flow_run_id, quarantine=True, stage="local-file-system/shared")
    assert sealed.counts == {"finished": 1}
    assert ".ommx.local/" in sealed.image_name


def test_a_tag_without_its_manifest_holds_up_the_rest_no_longer_than_it_is_set_aside(
    tmp_path, monkeypatch
):
    """A registry whose garbage collection took a manifest goes on listing its tag."""
    flow_run_id = new_id()
    with folder_registry(tmp_path / "oci") as host:
        store = OciStore(f"oci://{host}/acme/shards")
        monkeypatch.setattr(resolve, "store_at", lambda name: store)
        worker = Host(tmp_path / flow_run_id, flow_run_id, store)
        write_document(
            worker.stage, FLOW_RECORD, replace(flow_record(flow_run_id), stage=store.name)
        )
        attempts = [attempt_of(flow_run_id, number) for number in (1, 2)]
        for attempt in attempts:
            worker.stage.put(small(attempt.key, attempt, "finished"))
        tag = tmp_path / f"oci/acme/shards/manifests/{flow_run_id}_shards_{attempts[1].key}"
        tag.unlink()
        tag.mkdir()
        write_document(LocalStage(flow_run_id), STATE_RECORD, FINISHED)
        with pytest.raises(exceptions.SealError, match=attempts[1].key):
            seal_by_hand(flow_run_id, stage=store.name)
        sealed = seal_by_hand(flow_run_id, quarantine=True, stage=store.name)
    assert sealed.counts == {"finished": 1, "interrupted": 1}
    assert ("interrupted", "its record is damaged") in reasons(flow_run_id)


LATER = exceptions.UnknownFormatError("the manifest has the unknown key 'x'")
BROKEN = exceptions.DocumentError("it is no JSON object")


def test_what_a_later_release_wrote_is_not_said_to_be_set_aside():
    """`--quarantine` leaves it where it is, so that to name it helps nobody."""
    alone = damage_error("of-one", {"a": LATER})
    assert isinstance(alone, exceptions.UnknownFormatError)
    assert "upgrade ommx_prefect" in str(alone)
    both = damage_error("of-one", {"a": LATER, "b": LATER})
    assert isinstance(both, exceptions.UnknownFormatError)
    for error in (alone, both):
        assert "--quarantine" not in str(error)
    mixed = str(damage_error("of-one", {"a": LATER, "b": BROKEN}))
    assert mixed.startswith(
        "2 records are refused, 1 of a later release: upgrade ommx_prefect on this host first; "
        "the rest is sealed without them, by: ommx-prefect seal --quarantine of-one."
    )
