"""What stays of a flow run on a worker that sent all records to a shared stage."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

from ommx_prefect._catalogue.keeping import prunable_files
from ommx_prefect._registry.blobs import read_blob
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.checkpoints import NUMBER, CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import folder_of
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect.testing._scene import (
    as_shard_store,
    attempt_of,
    documents_of,
    new_id,
    shard_of,
)
from tests.support.shelf import Shelf


def leftovers(min_age=3600.0):
    return [each for each in prunable_files(min_age) if each.kind == "leftovers"]


def make_old(folder):
    old = time.time() - 7200
    for path in folder.rglob("*"):
        os.utime(path, (old, old))


@pytest.fixture
def worker():
    """The stage of a worker one of whose attempts has checkpointed, and ended."""
    flow_run_id = new_id()
    stage = SharedStage(LocalStage(flow_run_id), as_shard_store(Shelf()))
    attempt = attempt_of(flow_run_id)
    stage.begin(attempt)
    kept = Shard(
        attempt, "interrupted", parameters={NUMBER: 1}, documents=documents_of([flow_run_id])
    )
    blobs = {layer.digest: read_blob(layer.digest) for layer in payload_of(kept)}
    CheckpointFiles(stage).put(kept, blobs)
    stage.share_checkpoint(kept)
    assert stage.put(shard_of(attempt, [flow_run_id, 2])) is None
    yield stage
    shutil.rmtree(stage.path, ignore_errors=True)


def test_they_are_moved_aside_by_age_and_come_back_by_the_printed_command(worker):
    assert leftovers() == []  # a retry on this worker may start from them
    make_old(worker.path)
    (found,) = leftovers()
    assert found.bytes > 0
    found.remove()
    assert not folder_of(worker.flow_run_id).exists()
    assert subprocess.run(found.restore, shell=True, timeout=60).returncode == 0
    assert CheckpointFiles(worker).attempts() != []


@pytest.mark.parametrize("waits", ["shards/one", "unsent/subflows.one", "flow.json"])
def test_what_waits_for_a_seal_is_none_of_them(worker, waits):
    path = worker.path / waits
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"{}")
    make_old(worker.path)
    assert leftovers() == []


def test_one_in_which_somebody_records_again_stays(worker):
    make_old(worker.path)
    (found,) = leftovers()
    LocalStage(worker.flow_run_id).put(
        shard_of(attempt_of(worker.flow_run_id), [worker.flow_run_id, 3])
    )
    found.remove()
    assert len(LocalStage(worker.flow_run_id).shards()) == 1


def test_a_record_that_was_never_flushed_is_no_reason_to_keep_them(worker):
    (worker.path / "shards").mkdir()
    (worker.path / "shards" / "one").touch()
    make_old(worker.path)
    assert len(leftovers()) == 1
