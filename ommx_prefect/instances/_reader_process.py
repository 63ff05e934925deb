"""Let a reader read in a process of its own, so that its death or endless loop is an error here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Lock, Timer

from ommx_prefect.instances import _reader_child
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._matrix_bytes import matrix_from_bytes
from ommx_prefect.instances._unreadable import Inexpressible, NotInstalled, Unreadable

# A reader takes about 2 s for 10 MB; what takes this long does not end.
SECONDS = 60.0
SECONDS_PER_MB = 10.0


def read_apart(reader: str, path: Path) -> Matrix:
    """Read a model with HiGHS or SCIP in another process, which is kept for the next file.

    Raises:
        Unreadable: The reader says so, dies, or does not end.
    """
    seconds = SECONDS + SECONDS_PER_MB * path.stat().st_size / 1e6
    with _LOCK:
        return _in_time(reader, path, seconds)


class _Child:
    """The process, and the process that it belongs to: a fork must not share its pipes."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", _reader_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def usable(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, reader: str, path: Path) -> bytes:
        """Return the answer, empty if the process has ended."""
        asked, answers = self.process.stdin, self.process.stdout
        assert asked is not None
        assert answers is not None
        try:
            asked.write(json.dumps([reader, str(path)]).encode() + b"\n")
            asked.flush()
        except BrokenPipeError:
            return b""
        size = answers.read(8)
        return answers.read(int.from_bytes(size, "big") + 1) if len(size) == 8 else b""


_LOCK = Lock()
_CHILD: list[_Child] = []


def _in_time(reader: str, path: Path, seconds: float) -> Matrix:
    child = _child()
    timer = Timer(seconds, child.process.kill)
    timer.start()
    answer = child.ask(reader, path)
    late = not timer.is_alive()
    timer.cancel()
    if answer:
        return _told(answer)
    code = child.process.wait()
    if code == 0:  # it ended for it was idle, just before the question
        return _in_time(reader, path, seconds)
    raise Unreadable(f"it did not end in {seconds:.0f} s" if late else _death(code))


def _child() -> _Child:
    if not (_CHILD and _CHILD[0].usable()):
        _CHILD[:] = [_Child()]
    return _CHILD[0]


def _death(code: int) -> str:
    if code < 0:
        return f"it crashed on this file ({signal.Signals(-code).name})"
    return f"its process ended on this file with the code {code}"


def _told(answer: bytes) -> Matrix:
    kind, content = answer[0], answer[1:]
    if kind == _reader_child.MODEL:
        return matrix_from_bytes(content)
    reason = content.decode()
    if kind == _reader_child.NOT_INSTALLED:
        raise NotInstalled(reason)
    if kind == _reader_child.INEXPRESSIBLE:
        raise Inexpressible(reason)
    raise Unreadable(reason)
