"""Remember which task run produced a result that Prefect finds in its cache.

A result remembers where it is stored, not who made it. So each attempt whose result Prefect
persists leaves the key of its transaction beside the stages, and a cache hit looks there.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from ommx_prefect._registry.files import write_whole
from ommx_prefect._stages.roots import stage_root


def remember_origin(key: str, task_run_id: str) -> None:
    """Note which task run makes the result with this key."""
    with contextlib.suppress(OSError):
        write_whole(_origin_path(key), task_run_id.encode())


def origin_of(key: str) -> str | None:
    """Return the id of the task run that made the result with this key, where it is known."""
    with contextlib.suppress(OSError):
        return _origin_path(key).read_text()
    return None


def _origin_path(key: str) -> Path:
    name = hashlib.sha256(Path(key).name.encode()).hexdigest()
    return stage_root() / "origins" / name
