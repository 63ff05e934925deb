"""Tell which kind of source a file is by its name, and refuse what is no regular file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ommx_prefect.exceptions import InstanceFileError

# By the end of a file's name: the ending that readers know the format by.
FORMATS = {
    ".mps": ".mps",
    ".mps.gz": ".mps",
    ".lp": ".lp",
    ".lp.gz": ".lp",
    ".qplib": ".qplib",
    ".ommx": ".ommx",
}
# Packed otherwise than readers know, or where they do not.
_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst", ".zip", ".z", ".7z"})


def suffix_of(path: Path) -> str | None:
    """Return the known end of a file's name, whatever its case; None if it has none."""
    return next((suffix for suffix in FORMATS if path.name.lower().endswith(suffix)), None)


def require_instance_file(path: Path, others: Iterable[str]) -> str:
    """Return the known end of a file's name.

    Args:
        path: The file.
        others: Further sources to name in an error.

    Raises:
        InstanceFileError: It is none, a folder, absent, or no regular file (a pipe has no end).
    """
    with told(str(path)):
        mode = _mode(path)
    if mode and stat.S_ISDIR(mode):
        raise InstanceFileError(
            str(path),
            "a folder; ommx_prefect.instances.expand_sources([...]) lists the files in it",
        )
    suffix = suffix_of(path)
    if not mode:
        names = "" if suffix else f", or name an instance of a dataset: {', '.join(others)}"
        raise InstanceFileError(str(path), f"no such file. Check the path{names}")
    if suffix is None:
        known = ", ".join([*FORMATS, *others])
        reason = f"no kind of instance ends so; known are {known}{_unpacking(path)}"
        raise InstanceFileError(str(path), reason)
    if not stat.S_ISREG(mode):
        raise InstanceFileError(str(path), "no regular file, but a pipe, socket or device")
    return suffix


def _unpacking(path: Path) -> str:
    inner = path.with_suffix("")
    is_packed = path.suffix.lower() in _PACKED and suffix_of(inner) is not None
    return f". Unpack it: {inner.name} is one" if is_packed else ""


def _mode(path: Path) -> int:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def expanded(source: str | Path) -> list[str]:
    """Return a source, or the instance files of a folder, sorted.

    Raises:
        InstanceFileError: The folder holds none, or cannot be read.
    """
    path = Path(source)
    with told(str(source)):
        if not path.is_dir():
            return [str(source)]
        found = sorted(str(file) for file in path.iterdir() if suffix_of(file) and file.is_file())
    if not found:
        reason = f"no instance file in this folder; looked for {', '.join(FORMATS)}"
        raise InstanceFileError(str(source), reason)
    return found


@contextmanager
def told(source: str) -> Iterator[None]:
    """Turn what the system says of a path (too long, not allowed) into an InstanceFileError."""
    try:
        yield
    except OSError as error:
        reason = f"it cannot be read: {error.strerror or error}"
        raise InstanceFileError(source, reason) from error
