"""Write files atomically, and read only regular files."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from ommx_prefect._registry.memory import free_memory_bytes
from ommx_prefect.exceptions import DocumentError

_scratch_numbers = itertools.count()
# The contents are what matters; where the system tells them from the metadata, that is cheaper.
_sync = getattr(os, "fdatasync", os.fsync)
# A file system with a journal (ext4, XFS) may leave a name behind that `fdatasync` does not need.
_sync_names = os.fsync

# For the user who runs this, and nobody else.
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
# As the user's umask has it, where other users of a shared disk are to read it.
SHARED_FILE, SHARED_FOLDER = 0o666, 0o777
# What a reader sees all of, or nothing, while it is written into an empty file.
PAGE_BYTES = 4096
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
# Never through a link, and never waiting for whoever holds the other end of a pipe.
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
# What a network's file system may say of a folder that is to be flushed, or may only be written;
# and what is said of one that a seal has let go of meanwhile.
_NO_FLUSH_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOENT)
# A file of which it is asked whether it fits into memory.
LARGE_BYTES = 64 * 1024 * 1024


def flush(path: str | int) -> None:
    """Flush a file to the disk, with the name that it has now.

    Of a folder, which may be open, the names in it.
    """
    number = os.dup(path) if isinstance(path, int) else os.open(path, _OLD)
    try:
        _sync_names(number)
    finally:
        os.close(number)


def open_new(path: Path) -> BinaryIO:
    """Create a new file for this user alone, and open it to be written."""
    return open(os.open(path, _NEW, PRIVATE_FILE), "wb")


def write_whole(
    path: Path | str,
    data: bytes,
    *,
    durable: bool = False,
    shared: bool = False,
    folder: int | None = None,
) -> None:
    """Write a file atomically, seen whole or not at all; its folder is made if need be.

    Args:
        path: The file.
        data: What is to stand in it.
        durable: Whether what stands there then, the old or the new, has to outlive a power
            failure; see `write_durable`.
        shared: Whether other users may read it, as far as the umask allows.
        folder: The open folder that the path begins in.
    """
    above, name = os.path.split(path)
    scratch = os.path.join(above, f".{name}.{os.getpid()}-{next(_scratch_numbers)}")
    try:
        _write_new(scratch, data, durable=durable, shared=shared, folder=folder)
        os.replace(scratch, path, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:  # half a file on a full disk helps nobody
        with contextlib.suppress(OSError):
            os.unlink(scratch, dir_fd=folder)
        raise


def write_durable(
    path: Path | str, data: bytes, *, shared: bool = False, folder: int | None = None
) -> None:
    """Write a file atomically, in an open folder where it is told, and flush it and its name."""
    write_whole(path, data, durable=True, shared=shared, folder=folder)
    flush_folder(os.path.dirname(path) if folder is None else folder)


def flush_folder(folder: str | int) -> None:
    """Flush the names in a folder to the disk, where the file system can."""
    try:
        flush(folder)
    except OSError as error:
        if error.errno not in _NO_FLUSH_OF_FOLDERS:
            raise


def write_small(path: Path | str, data: bytes) -> None:
    """Write a new file of a few kilobytes at once; seen empty at first, and never in part.

    One of more than a page is written whole, as any other.
    """
    if len(data) > PAGE_BYTES:
        write_whole(path, data)
        return
    try:
        _write_new(path, data)
    except FileExistsError:  # written by another, or by a process that was killed before
        write_whole(path, data)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _write_new(
    path: Path | str,
    data: bytes,
    *,
    durable: bool = False,
    shared: bool = False,
    folder: int | None = None,
) -> None:
    mode = SHARED_FILE if shared else PRIVATE_FILE
    try:
        number = os.open(path, _NEW, mode, dir_fd=folder)
    except FileNotFoundError:
        if folder is not None:  # somebody has removed it
            raise
        make_folder(os.path.dirname(path), SHARED_FOLDER if shared else PRIVATE_FOLDER)
        number = os.open(path, _NEW, mode)
    try:
        # Each system call lets another thread have Python's lock, so there are few.
        left = memoryview(data)[os.write(number, data) :]
        while left:
            left = left[os.write(number, left) :]
        if durable:
            _sync(number)
    finally:
        os.close(number)


def make_folder(folder: str | Path, mode: int = PRIVATE_FOLDER) -> None:
    """Create a folder, and missing ones above it, for this user alone."""
    with contextlib.suppress(FileExistsError):
        try:
            os.mkdir(folder, mode)
        except FileNotFoundError:
            above = os.path.dirname(folder)
            if above in ("", os.fspath(folder)):
                raise
            make_folder(above, mode)
            make_folder(folder, mode)


def read_regular(
    path: str | Path, *, owned: bool = True, fits: bool = False, folder: int | None = None
) -> bytes:
    """Read a regular file; refuse a link, a pipe, a device or a folder.

    Args:
        path: The file.
        owned: Whether it has to be of the user who runs this.
        fits: Whether to refuse what does not fit twice into the memory that is free.
        folder: The open folder that the path begins in.

    Raises:
        FileNotFoundError: There is none.
        DocumentError: It is something else, or another user's, or too large.
    """
    # Of 10^5 records, each Python object of a file would take its time.
    number = _open_old(path, folder)
    try:
        size = _size_of(number, owned=owned)
        if fits and size > LARGE_BYTES:
            _require_memory(size)
        data = os.read(number, size + 1)
        if len(data) == size:
            return data
        with open(number, "rb", buffering=0, closefd=False) as file:
            return data + file.readall()
    finally:
        os.close(number)


@contextlib.contextmanager
def open_regular(path: str | Path, *, owned: bool = True) -> Iterator[FileIO]:
    """Open a file to read it, as `read_regular` does."""
    number = _open_old(path)
    try:
        _size_of(number, owned=owned)
        with open(number, "rb", buffering=0, closefd=False) as file:
            yield file
    finally:
        os.close(number)


def _open_old(path: str | Path, folder: int | None = None) -> int:
    try:
        return os.open(path, _OLD, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise DocumentError("it is no regular file") from error
        raise


def _require_memory(size: int) -> None:
    """Raise DocumentError where a file, a hole of terabytes say, does not fit into memory twice."""
    free = free_memory_bytes()
    if free is not None and size * 2 > free:
        raise DocumentError(
            f"it has {size:,} bytes, which do not fit twice into {free:,} of memory"
        )


def _size_of(number: int, *, owned: bool) -> int:
    """Return the size of an open file; DocumentError where it is no regular one."""
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
        raise DocumentError("it is no regular file")
    if owned and found.st_uid != os.geteuid():
        raise DocumentError(f"it belongs to user {found.st_uid}, not to {os.geteuid()}")
    return found.st_size
