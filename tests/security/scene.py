"""A colleague who may write to a shared stage, and the host that seals from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem

from ommx_prefect._format.model import Descriptor, ExperimentRecord, RunRecord, describe
from ommx_prefect._registry.names import find
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal_found
from ommx_prefect._shards.schema import stored
from ommx_prefect._stages.archive_store import ArchiveStore
from ommx_prefect._stages.block_store import FolderStore
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    End,
    FlowRecord,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id, shard_of

FINISHED = End("finished", "Completed", None)
FAILED = End("failed", "Failed", "boom")


class Disk:
    """A folder that hosts share, as the storage block of Prefect has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        name = "local-file-system/shared"
        block = LocalFileSystem(basepath=str(folder))
        self.store = ArchiveStore(name, lambda: FolderStore(name, block))

    def plant(self, name: str, data: bytes | Mapping[str, Any]) -> Path:
        """Write an object, as whoever reaches the disk can."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return path

    def seen_by(self, flow_run_id: str) -> SharedStage:
        """The stage of a flow run on the host that seals: this process's Local Registry."""
        return SharedStage(LocalStage(flow_run_id), self.store)


def recorded(disk: Disk, folder: Path, **changes: Any) -> str:
    """Let another host record a flow run with one attempt; return the flow run's id."""
    flow_run_id = new_id()
    worker = Host(folder / flow_run_id, flow_run_id, disk.store)
    record = replace(
        flow_record(flow_run_id), image_name=f"registry.example/acme/{flow_run_id}:one"
    )
    write_document(worker.stage, FLOW_RECORD, replace(record, **changes))
    worker.stage.put(shard_of(attempt_of(flow_run_id), {"of": flow_run_id}))
    return flow_run_id


def sealed_here(flow_run_id: str, end: End = FINISHED, **changes: Any) -> SealedExperiment:
    """Record and seal a flow run on this host, in its own stage."""
    stage = LocalStage(flow_run_id)
    record = replace(flow_record(flow_run_id), stage="local", **changes)
    write_document(stage, FLOW_RECORD, record)
    stage.put(shard_of(attempt_of(flow_run_id), {"of": flow_run_id}))
    return seal_now(stage, end)


def seal_now(stage: Any, end: End = FINISHED) -> SealedExperiment:
    """Seal what a stage holds, as it ended."""
    return seal_found(stage, read_flow_record(stage), end=end).sealed


def record_of(stage: Any) -> FlowRecord:
    record = read_flow_record(stage)
    assert record is not None
    return record


def as_fields(record: FlowRecord, **changes: Any) -> dict[str, Any]:
    """The fields of a flow record, as JSON of the release before documents had digests."""
    return {"format": 1, **stored(vars(replace(record, **changes)))}


def points_to(name: str) -> str | None:
    return find(name)


def one_run(layer: Descriptor) -> ExperimentRecord:
    """An experiment of one Run with one attachment that has this layer."""
    from ommx_prefect._format.model import Attachments

    return ExperimentRecord("finished", (RunRecord("finished", None, Attachments({"x": layer})),))


def layer_of(digest: str, size: int = 7) -> Descriptor:
    """A layer with a digest that nobody has checked."""
    return replace(describe("application/json", b"x" * size), digest=digest)
