"""What a disk holds after the power failed, from the calls that a process made before.

The model is that of a file system with a journal, as ext4 and XFS are. Names (files and folders
made, renamed, linked, removed) reach the disk in the order in which they were changed, and all
that were changed before a flush are there once it has returned. Contents reach it with a flush of
their file, and in no order before. Three ends are taken for each moment, none of them kind:

- `names kept`: all names are there, also of files whose contents are not: those are empty.
- `in part`: the same, and half of the pages of what was not flushed is there, too.
- `names lost`: no name is there that was changed after the last flush, and what was removed since
  then is back.

What a journal does not order, as on a disk that says that it has flushed and has not, is not in
it. A flush that began in one thread covers what was there then, and not what came while it ran.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from tests.crash.syscalls import FLUSHES, Call

NAMES_KEPT, IN_PART, NAMES_LOST = "names kept", "in part", "names lost"
ENDS = (NAMES_KEPT, IN_PART, NAMES_LOST)
PAGE_BYTES = 4096


class File:
    """A file: what is written, what of it was flushed, and what was written since then."""

    def __init__(self) -> None:
        self.data, self.flushed = bytearray(), b""
        self.pending: list[tuple[int, bytes]] = []
        self.is_grown = self.is_touched = True

    def write(self, offset: int, data: bytes) -> None:
        """Write into the memory of the system, page by page."""
        self.is_grown |= offset + len(data) > len(self.data)
        self.is_touched = True
        _put(self.data, offset, data)
        while data:
            room = PAGE_BYTES - offset % PAGE_BYTES
            self.pending.append((offset, data[:room]))
            offset, data = offset + room, data[room:]

    def truncate(self, size: int) -> None:
        """Change the size; at once on the disk, too, which is the worst."""
        self.data = self.data[:size].ljust(size, b"\0")
        self.flushed = self.flushed[:size]
        self.pending = [each for each in self.pending if each[0] < size]
        self.is_grown = self.is_touched = True

    def flush(self, pending: int) -> None:
        """Take the first so many of the pending pages to the disk."""
        self.flushed = self._with(pending)
        del self.pending[:pending]

    def after(self, end: str) -> bytes:
        """Return what is there after the power failed."""
        return self._with(len(self.pending) // 2) if end == IN_PART else self.flushed

    def _with(self, pages: int) -> bytes:
        data = bytearray(self.flushed)
        for offset, page in self.pending[:pages]:
            _put(data, offset, page)
        return bytes(data)


def _put(data: bytearray, offset: int, piece: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece


Names = Mapping[str, "File | None"]  # None is a folder


class Disk:
    """The files below one folder, as a process changes them.

    Args:
        folder: The folder, empty at first; what is done elsewhere is not looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}/"
        self.names: dict[str, File | None] = {}
        self.kept: Names = {}
        self._at: dict[str, int | None] = {}  # where an open file is written next; None at its end
        self._flushes: dict[str, tuple[list[tuple[File, int]], Names, bool]] = {}

    def apply(self, call: Call) -> bool:
        """Do what a call did; tell whether that was below the folder."""
        paths = self._paths(call)
        if not any(f"{path}/".startswith(self.folder) for path in paths):
            return False
        is_flush = call.name.endswith(FLUSHES)
        name = call.name.removesuffix("at")
        act = getattr(self, f"_{'flush' if is_flush else name}", None)
        assert act is not None, f"the model knows no {call.name}"
        act(call, *paths)
        return True

    def _paths(self, call: Call) -> list[str]:
        """Return the full paths among the arguments of a call."""
        folder, found = "", []
        is_written = call.name in ("write", "pwrite64")
        for part in call.parts:
            if isinstance(part, tuple):
                folder = part[1]
                if call.name in ("write", "pwrite64", "ftruncate") or "sync" in call.name:
                    found.append(folder)
            elif isinstance(part, bytes) and not is_written:
                found.append(os.path.join(folder, os.fsdecode(part)))
        return found

    # ------------------------------------------------------------ the calls

    def _open(self, call: Call, path: str) -> None:
        flags = next(x for x in call.parts if isinstance(x, str)).split("|")
        if "O_CREAT" in flags and path not in self.names:
            self.names[path] = File()
        file = self.names.get(path)
        if file and "O_TRUNC" in flags and file.data:
            file.truncate(0)
        self._at[str(call.result)] = None if "O_APPEND" in flags else 0

    def _write(self, call: Call, path: str) -> None:
        number, data = call.parts[0][0], call.parts[1]
        assert isinstance(number, str)
        assert isinstance(data, bytes)
        file, offset = self._file(path), self._at[number]
        file.write(len(file.data) if offset is None else offset, data[: call.result])
        self._at[number] = None if offset is None else offset + call.result

    def _pwrite64(self, call: Call, path: str) -> None:
        data, offset = call.parts[1], call.parts[3]
        assert isinstance(data, bytes)
        assert isinstance(offset, str)
        self._file(path).write(int(offset), data[: call.result])

    def _ftruncate(self, call: Call, path: str) -> None:
        self._file(path).truncate(int(str(call.parts[1])))

    def _flush(self, call: Call, path: str) -> None:
        """Flush a file, or all, with what was pending as the flush began, and the names of then."""
        if call.name.startswith("begins"):
            is_all = call.name.endswith(" syncfs")
            file = None if is_all else self.names.get(path)
            needs_journal = (
                file is None or file.is_grown or (file.is_touched and call.name.endswith(" fsync"))
            )
            files = {id(x): x for x in self.names.values() if x} if is_all else {0: file}
            pending = [(x, len(x.pending)) for x in files.values() if x]
            self._flushes[call.thread] = (pending, dict(self.names), needs_journal)
            return
        pending, names, needs_journal = self._flushes.pop(call.thread)
        for flushed, pages in pending:
            flushed.flush(pages)
            flushed.is_grown = flushed.is_touched = bool(flushed.pending)
        if needs_journal:
            self.kept = names

    def _mkdir(self, call: Call, path: str) -> None:
        self.names[path] = None

    def _unlink(self, call: Call, path: str) -> None:
        del self.names[path]

    _rmdir = _unlink

    def _link(self, call: Call, path: str, other: str) -> None:
        self.names[other] = self._file(path)
        self._file(path).is_touched = True

    def _rename(self, call: Call, path: str, other: str) -> None:
        for name in [x for x in self.names if x == path or x.startswith(f"{path}/")]:
            file = self.names.pop(name)
            self.names[other + name[len(path) :]] = file
            if file:
                file.is_touched = True

    _renameat2 = _rename

    def _file(self, path: str) -> File:
        file = self.names[path]
        assert file is not None, path
        return file

    # ------------------------------------------------------------ the ends

    def after(self, end: str) -> dict[str, File | None]:
        """Return the names that are there after the power failed."""
        return dict(self.kept if end == NAMES_LOST else self.names)

    def digest(self, end: str) -> str:
        """Tell two ends apart."""
        digest = hashlib.sha256()
        for name, file in sorted(self.after(end).items(), key=lambda each: each[0]):
            data = b"" if file is None else file.after(end)
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
        return digest.hexdigest()

    def build(self, end: str, folder: Path) -> None:
        """Make a folder that holds what is there after the power failed."""
        links: dict[int, Path] = {}
        for name, file in sorted(self.after(end).items(), key=lambda each: each[0]):
            path = folder / name.removeprefix(self.folder)
            if file is None:
                path.mkdir(exist_ok=True)
            elif id(file) in links:
                path.hardlink_to(links[id(file)])
            else:
                path.write_bytes(file.after(end))
                path.chmod(0o600)
                links[id(file)] = path
