"""Refuse a record where the disk of the Local Registry has no room for it.

Every attempt asks. A disk with plenty of room is not asked again for a moment: what fills it or
makes it read-only meanwhile shows when the record is written.
"""

from __future__ import annotations

import os
import sys
import time

from ommx_prefect._registry.blobs import registry_root

# Below this much free space a registry counts as full: better no record than half a record.
LEAST_FREE_BYTES = 4 * 2**20
# With this much, and as many files to come, it is believed for a while.
PLENTY_BYTES, PLENTY_FILES = 4 * 2**30, 100_000
BELIEVED_SECONDS = 0.5

_believed_until = 0.0


def require_space() -> None:
    """Raise OSError where the disk is full, or cannot be written."""
    if sys.platform == "win32" or time.monotonic() < _believed_until:
        return
    root = registry_root()
    try:
        free = os.statvfs(root)
    except FileNotFoundError:
        root.mkdir(parents=True)
        free = os.statvfs(root)
    if free.f_flag & os.ST_RDONLY:
        raise OSError(f"the disk of the Local Registry {root} is read-only")
    if free.f_bavail * free.f_frsize < LEAST_FREE_BYTES:
        raise OSError(f"the disk of the Local Registry {root} is full")
    if free.f_files and not free.f_favail:
        raise OSError(f"the disk of the Local Registry {root} is full: it has no inodes left")
    _believe(free)


def _believe(free: os.statvfs_result) -> None:
    global _believed_until
    has_plenty = free.f_bavail * free.f_frsize >= PLENTY_BYTES
    if has_plenty and (not free.f_files or free.f_favail >= PLENTY_FILES):
        _believed_until = time.monotonic() + BELIEVED_SECONDS
