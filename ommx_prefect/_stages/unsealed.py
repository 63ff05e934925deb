"""Find the stages of the Local Registry that hold unsealed records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ommx_prefect._registry.files import read_regular
from ommx_prefect._shards.names import FlowRunId
from ommx_prefect._shards.schema import ROOT_FLOW_RUN_KEY
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    INBOX,
    INTENT,
    PARTS,
    SEALED_RECORD,
    SHARDS,
    STARTS,
    STATE_RECORD,
    UNSENT,
)
from ommx_prefect._stages.files import has_content
from ommx_prefect._stages.roots import ORIGINS, stage_root
from ommx_prefect.exceptions import DocumentError, StageError

# What an attempt, or a call on current_experiment(), leaves in a stage until it is sealed.
RECORDS = (STARTS, SHARDS, PARTS, UNSENT)


def unsealed_flow_runs(*, unended: bool = False) -> list[str]:
    """Return the ids of flow runs, and of lone task runs, that wait to be sealed.

    It is cheap, for there can be thousands.

    Args:
        unended: Also those that were sealed before Prefect called their flow run ended.
    """
    try:
        folders = [Path(entry.path) for entry in os.scandir(stage_root()) if entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StageError(LOCAL, f"{stage_root()} cannot be read: {error.strerror}") from error
    stages = (x for x in folders if _is_stage(x.name))
    return sorted(x.name for x in stages if has_unsealed(x) or (unended and _is_unended(x)))


def _is_stage(name: str) -> bool:
    try:
        return name != ORIGINS and bool(FlowRunId(name))
    except DocumentError:  # somebody else's folder
        return False


def has_unsealed(folder: Path) -> bool:
    """Tell whether the directory of a stage holds unsealed records."""
    if (folder / INTENT).exists():
        return True
    if any(_has_records(x / kind) for x in (folder, folder / INBOX) for kind in RECORDS):
        return True
    if (folder / SEALED_RECORD).exists():
        return False
    return any(map(_begun_as_root, (folder, folder / INBOX))) or _is_blank(folder)


def _begun_as_root(folder: Path) -> bool:
    """Tell whether a flow run that has an experiment of its own began here.

    What a subflow leaves is sealed with its parent, and stays: it is nothing that waits.
    """
    try:
        record = json.loads(read_regular(folder / FLOW_RECORD))
        return bool(record[ROOT_FLOW_RUN_KEY] == record["flow_run_id"])
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # who reads it all says so
        return True


def _has_records(folder: Path) -> bool:
    """Tell whether a folder has a record; one whose power failed too early is empty, and none."""
    return any(has_content(folder / name) for name in names_in(folder))


def _is_blank(folder: Path) -> bool:
    """Tell whether a stage is empty, because the disk was full: Prefect may know more."""
    return folder.is_dir() and not any(x.is_file() for x in folder.rglob("*") if x.name[0] != ".")


def _is_unended(folder: Path) -> bool:
    return (folder / SEALED_RECORD).exists() and not (folder / STATE_RECORD).exists()


def names_in(folder: Path) -> Iterator[str]:
    """Yield the names of the records in a folder of a stage; nothing where there is none."""
    try:
        for name in os.listdir(folder):
            if not name.startswith("."):
                yield name
    except FileNotFoundError:
        return
