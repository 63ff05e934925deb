"""Find the current recording, in a thread and in the whole process."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from ommx.experiment import Run

from ommx_prefect._flowrun.context import enclosing_root_id
from ommx_prefect._memory.forks import process_lock
from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.faults import Faults
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import NoOpenRunError


class CurrentRecording(Protocol):
    """The interface of the recording that is open around a caller."""

    @property
    def attempt(self) -> Attempt:
        """The attempt that is recorded."""

    @property
    def redact(self) -> Redactor:
        """Redacts the secrets of the attempt in texts."""

    @property
    def faults(self) -> Faults:
        """The failures of recording so far."""

    @property
    def run(self) -> Run:
        """The Run that is open while the function runs."""

    @property
    def is_solving(self) -> bool:
        """Whether `log_solve` or `log_sample` is at work in the Run."""

    def runs(self, attempt: Attempt) -> bool:
        """Tell whether this is the recording of the same attempt."""

    def has_run(self, run: Run) -> bool:
        """Tell whether this is the Run that is open here."""

    def checkpoint(self, values: Mapping[str, Any]) -> None:
        """Make values durable now."""

    def announce(self, announced: Announced) -> None:
        """Make durable now what the Run will hold if the attempt ends."""


_current: ContextVar[CurrentRecording | None] = ContextVar("ommx_prefect_recording", default=None)
# The recordings whose functions run in this process, each with the one around it: a solver may
# call back in a thread that knows no context.
_active: dict[CurrentRecording, CurrentRecording | None] = {}
_lock = process_lock()


def current_run() -> Run:
    """Return the open Run of the innermost recorded task.

    It is a plain `ommx.experiment.Run`: every `log_*` method works, and what it logs is sealed
    into the flow run's experiment. After `finish()` the Run is closed and the task goes on.

    Raises:
        NoOpenRunError: No recorded task runs in this thread.
        ForkedProcessError: It runs in the process from which this one was forked.
        RecordingError: Neither the Local Registry nor the temporary directory can be written.
    """
    recording = _current.get()
    if recording is None:
        raise NoOpenRunError
    return recording.run


def recording_here() -> CurrentRecording | None:
    """Return the recording of the innermost recorded task in this thread, if there is one."""
    return _current.get()


def note_here(notice: str) -> bool:
    """Add a note to the ledger, at the task that runs in this thread; False if none does."""
    recording = _current.get()
    if recording is None:
        return False
    recording.faults.note_once(notice)
    return True


def active_recordings() -> list[CurrentRecording]:
    """Return the recordings of this process; without the lock, for processes just forked."""
    return list(_active)


def innermost_recordings() -> list[CurrentRecording]:
    """Return the recordings of this process that no other one runs inside of."""
    with _lock:
        around = set(_active.values())
        return [recording for recording in _active if recording not in around]


class made_current(AbstractContextManager[None]):
    """Make a recording the current one while the block runs."""

    __slots__ = ("_recording", "_root", "_token")

    def __init__(self, recording: CurrentRecording) -> None:
        self._recording = recording

    def __enter__(self) -> None:
        around = _current.get()
        self._token = _current.set(self._recording)
        self._root = enclosing_root_id.set(self._recording.attempt.root_flow_run_id)
        with _lock:
            _active[self._recording] = around

    def __exit__(self, *_: object) -> None:
        with _lock:
            _active.pop(self._recording, None)
        with contextlib.suppress(ValueError):  # an abandoned coroutine ends in another context
            _current.reset(self._token)
            enclosing_root_id.reset(self._root)
