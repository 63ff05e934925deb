"""Locate the Local Registry and the folder in which the stage of a flow run is."""

from __future__ import annotations

import functools
from pathlib import Path

from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.names import FlowRunId

DIRECTORY = "ommx-prefect"
# Beside the stages: whose the results are that Prefect persists. No flow run has this id.
ORIGINS = "origins"
# What this process was told: flow run -> root of the registry with its stage, not this one's.
MOST_TOLD = 1_000
_elsewhere: Bounded[str, Path] = Bounded(MOST_TOLD)


def stage_root() -> Path:
    """Return the directory that holds the stages of all flow runs of this registry."""
    return registry_root() / DIRECTORY


def tell_root(flow_run_id: str, root: str) -> None:
    """Remember that the stage of a flow run is in another Local Registry than this process's.

    OMMX fixes the registry once per process, but a worker may serve flows of several. Payload is
    written into this process's registry then, and its links are copies.
    """
    if root == str(registry_root()):
        return
    if Path(root) == registry_root() or not (Path(root) / DIRECTORY / flow_run_id).is_dir():
        return  # it is here, or out of reach
    _elsewhere[flow_run_id] = Path(root)


def root_of(flow_run_id: str) -> Path:
    """Return the root of the registry in which the stage of a flow run is."""
    return _elsewhere.get(flow_run_id) or registry_root()


def folder_of(flow_run_id: str) -> Path:
    """Return the folder of the stage of a flow run; DocumentError where the id is none."""
    return _folder(root_of(flow_run_id), flow_run_id)


@functools.lru_cache(maxsize=1_000)
def _folder(root: Path, flow_run_id: str) -> Path:
    """Return the folder of a stage below a root; each attempt asks several times."""
    return root / DIRECTORY / FlowRunId(flow_run_id)
