"""Which recording is the current one, in a thread and in the whole process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ommx.experiment import Run

from ommx_prefect._origin import enclosing_owner
from ommx_prefect.exceptions import NoOpenRunError

if TYPE_CHECKING:
    from ommx_prefect._recording import Recording

_current: ContextVar[Recording | None] = ContextVar("ommx_prefect_recording", default=None)
# The recordings whose functions run in this process, each with the one around it: a solver may
# call back in a thread that knows no context.
_active: dict[Recording, Recording | None] = {}
_lock = threading.Lock()


def current_run() -> Run:
    """Return the open Run of the innermost recorded task.

    It is a plain `ommx.experiment.Run`: every `log_*` method works, and what it logs is sealed
    into the flow run's experiment. After `finish()` the Run is closed and the task goes on.

    Raises:
        NoOpenRunError: No recorded task runs in this thread.
        RecordingError: Neither the Local Registry nor the temporary directory can be written.
    """
    recording = _current.get()
    if recording is None:
        raise NoOpenRunError
    return recording.run


def recording_here() -> Recording | None:
    """Return the recording of the innermost recorded task in this thread, if there is one."""
    return _current.get()


def innermost_recordings() -> list[Recording]:
    """Return the recordings of this process that no other one runs inside of."""
    with _lock:
        around = set(_active.values())
        return [recording for recording in _active if recording not in around]


@contextlib.contextmanager
def made_current(recording: Recording) -> Iterator[None]:
    """Make a recording the current one while the block runs."""
    around = _current.get()
    tokens = _current.set(recording), enclosing_owner.set(recording.attempt.owner)
    try:
        with _lock:
            _active[recording] = around
        yield
    finally:
        with _lock:
            _active.pop(recording, None)
        _current.reset(tokens[0])
        enclosing_owner.reset(tokens[1])
