"""What a process, OMMX's Rust and SQLite in it too, asks the system to do to files: by `strace`.

Only what changes a file, makes or removes a name, or flushes. What is written through memory maps
is not seen; of SQLite that is the index of its journal (`-shm`), which it makes anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHANGES = (
    "openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,syncfs,rename,"
    "renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,"
    "truncate,fallocate,copy_file_range,sendfile,splice"
)
FLUSHES = ("fsync", "fdatasync", "syncfs")
_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_HEX = r"((?:\\x[0-9a-f]{2})*)"
_PART = re.compile(rf'(?P<fd>AT_FDCWD|\d+)<{_HEX}>(\(deleted\))?|"{_HEX}"|(?P<word>[^,\s()"<>]+)')


@dataclass(frozen=True)
class Call:
    """One system call that succeeded.

    Attributes:
        seconds: When it began, since the epoch.
        thread: Who called.
        name: Its name; that of a flush with `begins ` before it, where it begins.
        parts: Its arguments: open files as pairs of number and path, strings as bytes, and words.
        result: What it returned.
    """

    seconds: float
    thread: str
    name: str
    parts: tuple[tuple[str, str] | bytes | str, ...]
    result: int


def command(trace: Path) -> list[str]:
    """Return what to put before the command of a process."""
    options = ["-f", "-ttt", "-y", "-xx", "-s", str(2**26), "--seccomp-bpf", "-o", str(trace)]
    return ["strace", *options, "-e", f"trace={CHANGES}", "-e", "signal=none"]


def read_calls(trace: Path) -> Iterator[Call]:
    """Read a trace, in the order in which the calls ended; a flush is there twice."""
    unfinished: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            found = _LINE.match(line)
            assert found is not None, line
            thread, seconds, said = found.groups()
            is_resumed = _RESUMED.match(said)
            if is_resumed:
                said = unfinished.pop(thread) + is_resumed[1]
            elif said.endswith("<unfinished ...>"):
                unfinished[thread] = said.removesuffix("<unfinished ...>")
                yield from _begun(float(seconds), thread, unfinished[thread])
                continue
            call = _call(float(seconds), thread, said)
            if call is not None:
                yield from () if is_resumed else _begun(float(seconds), thread, said)
                yield call


def _begun(seconds: float, thread: str, said: str) -> Iterator[Call]:
    name, _, arguments = said.partition("(")
    if name in FLUSHES:
        yield Call(seconds, thread, f"begins {name}", _parts(arguments), 0)


def _call(seconds: float, thread: str, said: str) -> Call | None:
    found = _CALL.match(said)
    if found is None or int(found[3]) < 0:  # it failed, or the process ended in it
        return None
    return Call(seconds, thread, found[1], _parts(found[2]), int(found[3]))


def _parts(arguments: str) -> tuple[tuple[str, str] | bytes | str, ...]:
    return tuple(_part(found) for found in _PART.finditer(arguments))


def _part(found: re.Match[str]) -> tuple[str, str] | bytes | str:
    if found["fd"]:
        path = bytes.fromhex(found[2].replace("\\x", "")).decode(errors="surrogateescape")
        return found["fd"], "" if found[3] else path
    return found["word"] or bytes.fromhex(found[4].replace("\\x", ""))
