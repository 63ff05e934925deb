"""Run a reader in a process of its own, so that its crash or endless loop is an error here."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
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
    """The process, and the process that it belongs to."""

    def __init__(self) -> None:
        self.owner, self.killed = os.getpid(), False
        self.process = subprocess.Popen(
            [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", _reader_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

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

    def is_over(self) -> bool:
        """Tell whether it has ended, or was killed and is about to."""
        return self.killed or self.process.poll() is not None

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.killed = True
        self.process.kill()

    def end(self) -> int:
        """Close its pipes, which ends it, and return its exit code."""
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        return self.process.wait()


_LOCK = Lock()
_CHILD: list[_Child] = []


@atexit.register
def _end_children() -> None:
    while _CHILD:
        child = _CHILD.pop()
        if child.owner == os.getpid():
            child.end()


def _forget() -> None:
    """Leave the process to the one that this was forked from."""
    global _LOCK
    _LOCK = Lock()
    _CHILD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _in_time(reader: str, path: Path, seconds: float) -> Matrix:
    child = _child()
    timer = Timer(seconds, child.kill)
    timer.start()
    try:
        answer = child.ask(reader, path)
    except BaseException:
        # Interrupted: an answer that is still on its way must not answer the next question.
        child.kill()
        raise
    finally:
        timer.cancel()
    if answer:
        return _model_in(answer)
    code = child.end()
    if code == 0:  # it ended for it was idle, just before the question
        return _in_time(reader, path, seconds)
    raise Unreadable(f"it did not end in {seconds:.0f} s" if child.killed else _death(code))


def _child() -> _Child:
    if _CHILD and _CHILD[0].is_over():
        _CHILD.pop().end()
    if not _CHILD:
        _CHILD.append(_Child())
    return _CHILD[0]


def _death(code: int) -> str:
    if code < 0:
        return f"it crashed on this file ({signal.Signals(-code).name})"
    return f"its process ended on this file with the code {code}"


def _model_in(answer: bytes) -> Matrix:
    kind, content = answer[0], answer[1:]
    if kind == _reader_child.MODEL:
        return matrix_from_bytes(content)
    reason = content.decode()
    if kind == _reader_child.NOT_INSTALLED:
        raise NotInstalled(reason)
    if kind == _reader_child.INEXPRESSIBLE:
        raise Inexpressible(reason)
    raise Unreadable(reason)
