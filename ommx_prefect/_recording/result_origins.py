"""Remember which task run produced a result that Prefect finds in its cache.

A result remembers where it is stored, not who made it. So each attempt whose result Prefect
persists leaves the key of its transaction beside the stages, and a cache hit looks there. `prune`
lets go of those that nobody has asked for in long.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from ommx_prefect._registry.files import write_whole
from ommx_prefect._stages.roots import ORIGINS, stage_root


def remember_origin(key: str, task_run_id: str) -> None:
    """Note which task run makes the result with this key."""
    with contextlib.suppress(OSError):
        write_whole(_origin_path(key), task_run_id.encode())


def origin_of(key: str) -> str | None:
    """Return the id of the task run that made the result with this key, where it is known."""
    with contextlib.suppress(OSError):
        path = _origin_path(key)
        text = path.read_text()
        with contextlib.suppress(OSError):  # not this user's
            os.utime(path)
        return text
    return None


def old_origins(before: float) -> dict[Path, int]:
    """Yield the files, with sizes, of results that were neither noted nor asked for since."""
    found: dict[Path, int] = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(stage_root() / ORIGINS):
            with contextlib.suppress(OSError):
                if (known := entry.stat()).st_mtime < before:
                    found[Path(entry.path)] = known.st_size
    return found


def _origin_path(key: str) -> Path:
    name = hashlib.sha256(Path(key).name.encode()).hexdigest()
    return stage_root() / ORIGINS / name
