"""Tell how much memory of this machine is free."""

from __future__ import annotations

import re
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB", re.MULTILINE)


def free_memory_bytes() -> int | None:
    """Return the bytes that a process can have without others being swapped out.

    None where the system does not say.
    """
    try:
        found = _AVAILABLE.search(_MEMINFO.read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
