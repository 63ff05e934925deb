"""Refuse what a forked process logs on a Run that its parent opened: it would be lost."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from ommx.experiment import Run

from ommx_prefect._recording.current import CurrentRecording, active_recordings

_LOGGING = ("log_", "open_solve")


def refuse_in_forks() -> None:
    """Let the methods of OMMX's Run refuse the Runs of recorded tasks, in forked processes alone.

    `current_run()` refuses by itself; this is for who had it before the fork.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_refuse)


def _refuse() -> None:
    recordings = active_recordings()
    for name in dir(Run) if recordings else ():
        if name.startswith(_LOGGING):
            setattr(Run, name, _refusing(getattr(Run, name), recordings))


def _refusing(
    method: Callable[..., Any], recordings: Sequence[CurrentRecording]
) -> Callable[..., Any]:
    @functools.wraps(method)
    def refusing(self: Run, *args: Any, **kwargs: Any) -> Any:
        for recording in recordings:
            if recording.has_run(self):
                _ = recording.run  # raises ForkedProcessError
        return method(self, *args, **kwargs)

    return refusing
