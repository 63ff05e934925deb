"""What comes from a shared place is durable before its record; what is refused stays nowhere."""

from __future__ import annotations

import gc
import os
import tracemalloc

import pytest

from ommx_prefect._registry import files
from ommx_prefect._shards.archive import payload_of
from ommx_prefect.exceptions import DocumentError
from ommx_prefect.testing._scene import Host, attempt_of, new_id, shard_of
from tests.support.shelf import Shelf

OPEN_FILES = "/proc/self/fd"


@pytest.mark.skipif(not os.path.isdir(OPEN_FILES), reason="names of open files are asked of Linux")
def test_payload_that_came_with_a_record_is_flushed_before_the_record(tmp_path, monkeypatch):
    flow_run_id, shelf = new_id(), Shelf()
    worker, sealing = (Host(tmp_path / x, flow_run_id, shelf) for x in ("worker", "sealing"))
    shard = shard_of(attempt_of(flow_run_id), [flow_run_id])
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


class Disk(Shelf):
    """A store whose every answer is a copy, as that of a disk."""

    def read(self, name):
        return bytes(bytearray(self.objects[name]))


def test_an_error_that_is_held_holds_no_bytes_of_what_it_refuses(tmp_path):
    flow_run_id, shelf = new_id(), Disk()
    worker, sealing = (Host(tmp_path / x, flow_run_id, shelf) for x in ("worker", "sealing"))
    worker.stage.put(shard_of(attempt_of(flow_run_id), [flow_run_id]))
    (name,) = shelf.names(f"{flow_run_id}/shards/")
    shelf.write(name, shelf.read(name) + bytes(8_000_000))
    errors = []
    gc.disable()  # so that a cycle is not freed by chance
    try:
        for _ in range(3):
            with pytest.raises(DocumentError, match="something follows it") as refused:
                sealing.stage.collect(())
            errors.append(refused.value)
            if len(errors) == 1:
                tracemalloc.start()
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
        gc.enable()
