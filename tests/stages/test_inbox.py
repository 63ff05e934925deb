"""What comes from a shared place outlives a power failure of the host that seals."""

from __future__ import annotations

import os

import pytest

from ommx_prefect._registry import files
from ommx_prefect._shards.archive import payload_of
from ommx_prefect.testing._scene import Host, attempt_of, new_id, shard_of
from tests.support.shelf import Shelf

OPEN_FILES = "/proc/self/fd"


@pytest.mark.skipif(not os.path.isdir(OPEN_FILES), reason="names of open files are asked of Linux")
def test_payload_that_came_with_a_record_is_flushed_before_the_record(tmp_path, monkeypatch):
    owner, shelf = new_id(), Shelf()
    worker, sealing = (Host(tmp_path / x, owner, shelf) for x in ("worker", "sealing"))
    shard = shard_of(attempt_of(owner), [owner])
    worker.stage.put(shard)
    flushed, sync = [], files._sync

    def note(number):
        flushed.append(os.readlink(f"{OPEN_FILES}/{number}"))
        sync(number)

    monkeypatch.setattr(files, "_sync", note)
    sealing.stage.collect(())
    (layer,) = payload_of(shard)
    names = [layer.digest.removeprefix("sha256:"), shard.attempt.key]
    order = [name for path in flushed for name in names if name in os.path.basename(path)]
    assert order == names
