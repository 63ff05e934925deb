"""Whatever is raised while a record goes out: it waits on this host, and goes out later."""

from __future__ import annotations

from typing import Any

import pytest

from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.documents import SHARDS, STARTS
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.outbox import Outbox
from ommx_prefect.testing._scene import attempt_of, documents_of, new_id

ERRORS = [
    MemoryError("no memory to pack it"),
    ValueError("Invalid value NaN (not a number)"),
    UnicodeEncodeError("ascii", "é", 0, 1, "ordinal not in range"),
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("port must be 0-65535"),
    KeyError("mediaType"),
    OSError("no such device"),
]


class BrokenStore:
    """A place where nothing can be written, each time for another reason."""

    name = "broken/store"

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.written: list[str] = []

    def write(self, name: str, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(name)

    def put_shard(self, name: str, shard: Shard, find: Any) -> None:
        self.write(name, b"")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_record_that_cannot_be_sent_waits_here_visibly_and_goes_out_later(error, caplog):
    flow_run_id = new_id()
    store, local = BrokenStore(error), LocalStage(flow_run_id)
    outbox = Outbox(local, store, blob_path)
    attempt = attempt_of(flow_run_id)
    outbox.begin(attempt)
    assert [path.name for path in local.files(STARTS)] == [attempt.key]
    shard = Shard(attempt, "finished", documents=documents_of({"x": 1}))
    problem = outbox.put(shard, SHARDS)
    assert problem is not None
    assert str(error)[:20] in problem
    assert [path.name for path in local.files(SHARDS)] == [attempt.key]
    assert "waits on" in caplog.text
    assert outbox.flush() is not None
    store.error = None
    assert outbox.flush() is None
    assert f"{flow_run_id}/{SHARDS}/{attempt.key}" in store.written
    assert local.files(SHARDS) == []
