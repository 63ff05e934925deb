"""Recover records from hidden folders that a killed `prune` left beside the stages.

    <registry root>/ommx-prefect/.<flow run id>.<hex>

| what it is | how that is told | what is done |
|---|---|---|
| a folder that is being put away | a process holds its lock | nothing |
| one that was | it has a lock | what came late goes back to its flow run, and it is removed |
| one that is being brought back, or was | it has no lock | it goes: the database has all of it |
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from ommx_prefect._registry.files import PRIVATE_FILE
from ommx_prefect._stages.documents import FLOW_RECORD, LOCK
from ommx_prefect._stages.kept import KEPT, KEPT_DOCUMENTS, came_late, give_back, transaction
from ommx_prefect._stages.local import LocalStage

_ASIDE = re.compile(r"\.(?P<flow_run_id>[A-Za-z0-9-]{1,64})\.[0-9a-f]{32}")


def folders_aside(root: Path) -> list[Path]:
    """Return the hidden folders in which flow runs are put away or brought back, or were."""
    found = os.listdir(root) if root.is_dir() else ()
    return [root / name for name in found if _ASIDE.fullmatch(name)]


def give_back_left(aside: Path) -> None:
    """Move late records of a hidden folder back to their flow run, and remove the folder.

    Raises:
        OSError: The database cannot be read; the folder stays.
    """
    kept = aside.with_name(KEPT)
    if not (aside / LOCK).exists():
        with transaction(kept):  # whoever brings a folder back holds it until that is done
            shutil.rmtree(aside, ignore_errors=True)
        return
    with contextlib.suppress(Timeout), FileLock(aside / LOCK, mode=PRIVATE_FILE, timeout=0):
        _give_back_late(aside, kept)
        shutil.rmtree(aside, ignore_errors=True)


def _give_back_late(aside: Path, kept: Path) -> None:
    flow_run_id = _flow_run_id_of(aside)
    folder = aside.with_name(flow_run_id)
    with transaction(kept) as database:
        query = "SELECT name, data FROM kept WHERE owner = ?"
        known = dict(database.execute(query, (flow_run_id,)).fetchall())
    # Documents are in the database, or were brought back since, and are newer there.
    has_documents = bool(known) or (folder / FLOW_RECORD).exists()
    late = [x for x in came_late(aside, known) if not (has_documents and x in KEPT_DOCUMENTS)]
    if late:
        with LocalStage(flow_run_id).locked():
            for name in late:
                give_back(aside / name, folder / name)


def _flow_run_id_of(aside: Path) -> str:
    found = _ASIDE.fullmatch(aside.name)
    return found["flow_run_id"] if found else ""
