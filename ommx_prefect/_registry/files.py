"""Write a file so that readers see all of it or none of it, whatever dies meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

_scratch_numbers = itertools.count()
# The contents are what matters; where the system tells them from the metadata, that is cheaper.
_sync = getattr(os, "fdatasync", os.fsync)


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file so that it is seen whole or not at all; its folder is made if need be."""
    folder, name = os.path.split(path)
    scratch = f"{folder}/.{name}.{os.getpid()}-{next(_scratch_numbers)}"
    # Each system call lets another thread have Python's lock, so there is no buffer.
    try:
        file = open(scratch, "xb", buffering=0)  # noqa: SIM115
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        file = open(scratch, "xb", buffering=0)  # noqa: SIM115
    try:
        with file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            if durable:
                _sync(file.fileno())
        os.replace(scratch, path)
    except BaseException:  # half a file on a full disk helps nobody
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise
