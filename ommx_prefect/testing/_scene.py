"""Fixtures for tests of a store: hosts that share it, and attempts that leave shards."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, cast

from ommx_prefect._format.model import Documents
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._registry.unnamed import open_experiment, store
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.process import new_nonce
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.archive_store import ArchiveStore
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.store import ShardStore, Store
from ommx_prefect.exceptions import StageError

NAME = "contract://store"


def new_id() -> str:
    """Return the id of a flow run that never was."""
    return str(uuid.uuid4())


def as_shard_store(store: Store | ShardStore) -> ShardStore:
    """Return a store of shards; a plain store of objects is wrapped."""
    if hasattr(store, "put_shard"):
        return cast("ShardStore", store)
    return ArchiveStore(NAME, lambda: store)


def attempt_of(flow_run_id: str, number: int = 1) -> Attempt:
    """Return an attempt of a flow run, the later the higher its number."""
    return Attempt(
        root_flow_run_id=flow_run_id,
        flow_run_id=flow_run_id,
        flow_attempt=1,
        task_run_id=new_id(),
        task="solve",
        task_run=f"solve-{number}",
        attempt=1,
        nonce=new_nonce(),
        started_at=float(number),
        host="contract-host",
        pid=1,
        inputs={"number": number},
    )


def shard_of(attempt: Attempt, payload: object) -> Shard:
    """Return what an attempt leaves that ended, with one attachment."""
    documents = documents_of(payload)
    return Shard(attempt, "finished", parameters={"objective": 1.5}, documents=documents)


def documents_of(payload: object) -> Documents:
    """Store an experiment of one Run with one attachment, under no name; return its documents."""
    experiment = open_experiment()
    with experiment.run() as run:
        run.log_json("payload", payload)
    return store(experiment)


def lose_payload(*shards: Shard) -> None:
    """Remove payload from the Local Registry of this process, as if it were another host's."""
    for digest in {layer.digest for shard in shards for layer in payload_of(shard)}:
        blob_path(digest).unlink()


def flow_record(flow_run_id: str) -> FlowRecord:
    """Return the record of a flow run."""
    return FlowRecord(
        root_flow_run_id=flow_run_id,
        image_name="registry.example/acme/night:one",
        replace=False,
        aliases=("latest",),
        chosen=False,
        flow_run_id=flow_run_id,
        flow_run="brave-test",
        flow="night",
        deployment_id="",
        scheduled_time="2026-01-01T00:00:00+00:00",
        parameters={"gap": 0.1, "limit": 3, "exact": True, "name": "a"},
        stage=NAME,
    )


class Host:
    """A host with a stage of its own over the shared place.

    Args:
        folder: Where its files are.
        flow_run_id: The flow run.
        store: The place.
    """

    def __init__(self, folder: Path, flow_run_id: str, store: Store | ShardStore) -> None:
        self.local = LocalStage(flow_run_id, folder / flow_run_id)
        self.stage = SharedStage(self.local, as_shard_store(store))


class Away:
    """A place that can be away: then every call raises, as it does where no network is.

    Args:
        store: The place.
    """

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self.is_away = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if self.is_away and callable(found):
            raise StageError(NAME, "it is away")
        return found
