"""Run a reader in a process of its own, so that its crash or endless loop is an error here."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Timer

from ommx_prefect.instances import _reader_child
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._matrix_bytes import matrix_from_bytes
from ommx_prefect.instances._shared_faults import Doubt, doubts_beside_ommx
from ommx_prefect.instances._unreadable import Inexpressible, NotInstalled, Unreadable

# A reader takes about 2 s for 10 MB; what takes this long does not end.
SECONDS = 60.0
SECONDS_PER_MB = 10.0


def read_apart(reader: str, path: Path) -> Matrix:
    """Read a model with HiGHS or SCIP in another process, which is kept for the next file.

    Raises:
        Unreadable: The reader says so, dies, or does not end.
    """
    with _LOCK, Questions(path, reader) as questions:
        return questions.model()


@contextmanager
def begun_apart(reader: str, path: Path) -> Iterator[Questions | None]:
    """Let another process read a file, and look for what is doubtful in it, meanwhile.

    None is yielded if that process is busy.
    """
    if not _LOCK.acquire(blocking=False):
        yield None
        return
    lock = _LOCK  # a fork has another one
    try:
        # Its model does not fit into the pipe: what came after it would wait until it is read.
        with Questions(path, "doubts", reader) as questions:
            yield questions
    finally:
        lock.release()


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

    def ask(self, wanted: Sequence[str], path: Path) -> None:
        """Send a question, if the process is there."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([wanted, str(path)]).encode() + b"\n")
            self.process.stdin.flush()

    def answer(self) -> bytes:
        """Wait for the answer, which is empty if the process has ended."""
        answers = self.process.stdout
        assert answers is not None
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


class Questions:
    """Questions on a file to the process, within the seconds that it has. In a `with` block.

    Args:
        path: The file.
        wanted: What is asked, in this order; the last is a reader.
    """

    def __init__(self, path: Path, *wanted: str) -> None:
        self._path, self._reader, self._open = path, wanted[-1], list(wanted)
        self._answers: dict[str, bytes] = {}
        self._seconds = SECONDS + SECONDS_PER_MB * path.stat().st_size / 1e6
        self._child = _child()
        self._timer = Timer(self._seconds, self._child.kill)
        self._timer.start()
        self._child.ask(wanted, path)

    def __enter__(self) -> Questions:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._open:
            # An answer that is still on its way must not answer the next question.
            self._child.kill()

    def model(self) -> Matrix:
        """Wait for the model; raises what `read_apart` raises."""
        if answer := self._answer(self._reader):
            return _model_in(answer)
        code = self._child.end()
        if code == 0:  # it ended for it was idle, just before the question
            with Questions(self._path, self._reader) as again:
                return again.model()
        is_slow = self._child.killed
        raise Unreadable(f"it did not end in {self._seconds:.0f} s" if is_slow else _death(code))

    def doubts(self) -> tuple[Doubt, ...]:
        """Wait for what `doubts_beside_ommx` returns; without an answer it is called here."""
        answer = self._answer("doubts")
        if not answer:
            return doubts_beside_ommx(self._path)
        found = json.loads(answer[1:])
        return tuple(Doubt(frozenset(readers), reason) for readers, reason in found)

    def _answer(self, wanted: str) -> bytes:
        """Return an answer, with those before it; empty if the process has ended."""
        while wanted in self._open:
            if answer := self._child.answer():
                self._answers[self._open.pop(0)] = answer
            else:
                self._open.clear()
        return self._answers.get(wanted, b"")


def is_running() -> bool:
    """Tell whether the process is there, and need not be started."""
    return any(not child.is_over() for child in _CHILD)


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
