"""Who reads a stage without its lock does so beside seals, and changes nothing."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ommx_prefect._recovery.recover import recover
from ommx_prefect._recovery.unsealed import read_unsealed
from ommx_prefect._registry import files
from ommx_prefect._stages import resolve
from ommx_prefect._stages.documents import FLOW_RECORD, SHARDS, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect.testing._scene import Away, attempt_of, flow_record, new_id, shard_of
from tests.security.scene import Disk
from tests.support.large_nights import staged_night


@pytest.fixture
def stage():
    """A flow run with three records, in which their payload is."""
    made = LocalStage(staged_night("registry.test/unsealed/night:one", runs=3))
    yield made
    made.discard([path.name for path in made.files(SHARDS)])
    made.discard([path.name for path in made.files("parts")])
    made.remove(FLOW_RECORD)


def files_of(stage):
    return sorted(str(path) for path in stage.path.rglob("*") if path.is_file())


def test_what_is_read_without_the_lock_is_left_as_it_is(stage):
    before = files_of(stage)
    assert len(read_unsealed(stage.flow_run_id).shards) == 3
    list(recover(dry_run=True))
    assert files_of(stage) == before


def test_what_a_subflow_leaves_is_nothing_that_waits(stage):
    subflow = LocalStage(new_id())
    record = replace(flow_record(subflow.flow_run_id), root_flow_run_id=stage.flow_run_id)
    write_document(subflow, FLOW_RECORD, record)
    assert stage.flow_run_id in unsealed_flow_runs()
    assert subflow.flow_run_id not in unsealed_flow_runs()
    (subflow.path / FLOW_RECORD).write_text("no record")
    assert subflow.flow_run_id in unsealed_flow_runs()  # damaged, and `status` tells of it
    subflow.remove(FLOW_RECORD)


def test_records_that_a_seal_lets_go_of_meanwhile_are_left_out(stage, monkeypatch):
    rest = sorted(path.name for path in stage.files(SHARDS))[1:]
    opened = files._open_old

    def sealed_meanwhile(path, folder=None):
        if f"/{SHARDS}/" in str(path):  # they are listed already
            LocalStage(stage.flow_run_id).discard(rest)
        return opened(path, folder)

    monkeypatch.setattr(files, "_open_old", sealed_meanwhile)
    assert len(read_unsealed(stage.flow_run_id).shards) == 1


@pytest.mark.parametrize(("letters", "is_seen"), [(10, True), (5_000, False)])
def test_a_large_start_record_is_not_seen_before_it_is_whole(
    tmp_path, monkeypatch, letters, is_seen
):
    flow_run_id = new_id()
    attempt = replace(attempt_of(flow_run_id), inputs={"text": "x" * letters})
    stage, seen, write = LocalStage(flow_run_id, tmp_path / flow_run_id), [], os.write

    def note(number, data):
        seen.append([path.name for path in stage.path.rglob(f"{attempt.key}")])
        return write(number, data)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "write", note)
        stage.begin(attempt)
    assert seen == [[attempt.key] if is_seen else []]
    assert stage.starts() == [attempt]


def test_a_damaged_record_on_a_worker_is_told_of_and_the_others_are_sent(tmp_path, monkeypatch):
    disk, flow_run_id = Disk(tmp_path / "shared"), new_id()
    monkeypatch.setattr(resolve, "store_at", lambda name: disk.store)
    place = Away(disk.store)
    worker = SharedStage(LocalStage(flow_run_id), place)
    place.is_away = True
    for number in (1, 2):
        worker.put(shard_of(attempt_of(flow_run_id, number), [flow_run_id, number]))
    damaged, good = LocalStage(flow_run_id).files(SHARDS)
    damaged.write_bytes(b"no record")
    told = {row.flow_run_id: row for row in recover(min_age_seconds=0)}
    assert told[flow_run_id].done == "failed"
    assert str(damaged) in told[flow_run_id].why
    sent = [path.name for path in (disk.folder / flow_run_id / SHARDS).iterdir()]
    assert sent == [good.name]
    assert LocalStage(flow_run_id).files(SHARDS) == [damaged]
    damaged.unlink()
