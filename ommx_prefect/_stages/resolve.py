"""Find the stage of a flow run: from the caller, its record, or Prefect's settings."""

from __future__ import annotations

import functools

from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._stages.address import LOCAL, OCI_SCHEME, checked_stage, scheme_of
from ommx_prefect._stages.archive_store import ArchiveStore
from ommx_prefect._stages.block_store import open_block_store
from ommx_prefect._stages.documents import FLOW_RECORD, INBOX_RECORD, OUTBOX_RECORD
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.own_store import open_own_store
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.signing import signer_of
from ommx_prefect._stages.store import ShardStore

# What this process was told: flow run -> stage. Old entries go; the flow run's record tells, too.
MOST_TOLD = 1_000
_told: Bounded[str, str] = Bounded(MOST_TOLD)


def tell_stage(flow_run_id: str, stage: str) -> None:
    """Remember the stage of a flow run in this process."""
    _told[flow_run_id] = stage


def stage_of(flow_run_id: str, stage: str | None = None, default: str | None = None) -> Stage:
    """Return the stage of a flow run.

    Args:
        flow_run_id: Id of the flow run that is sealed.
        stage: Its stage, where the caller knows it better than anything that is written.
        default: The stage that its flow asks for, unless it was opened with another one.
    """
    name = checked_stage(stage) or _told.get(flow_run_id) or _noted(LocalStage(flow_run_id))
    name = name or checked_stage(default or OmmxSettings().stage)
    return stage_at(flow_run_id, name or LOCAL)


def stage_at(flow_run_id: str, name: str) -> Stage:
    """Return the stage of a flow run in a place; nothing is opened yet."""
    local = LocalStage(flow_run_id)
    return local if name == LOCAL else SharedStage(local, store_at(name))


def store_at(name: str) -> ShardStore:
    """Return the store of a place that hosts share; nothing is opened yet."""
    scheme = scheme_of(name)
    signer = functools.partial(signer_of, name)
    if scheme == OCI_SCHEME:
        return OciStore(name, signer)
    opened = open_own_store if scheme else open_block_store
    return ArchiveStore(name, functools.partial(opened, name), opened.cache_clear, signer)


def _noted(local: Stage) -> str | None:
    """Return the address of the stage that this host has written down, or None.

    What a record from elsewhere says of its stage is not asked.
    """
    own = local.read(FLOW_RECORD) if local.is_own() else None
    noted = own or local.read(INBOX_RECORD) or local.read(OUTBOX_RECORD)
    return None if noted is None else str(noted.get("stage", LOCAL))
