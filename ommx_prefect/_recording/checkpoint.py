"""The function `checkpoint`, by which a long solve keeps what it has found so far.

    def improved(event):                                # HiGHS
        found = instance.evaluate(state_of(event.data_out.mip_solution))
        checkpoint(incumbent=found, gap=event.data_out.mip_gap)

    with current_run().open_solve(OMMXHighsAdapter, instance) as solve:
        solve.solver_input.cbMipImprovingSolution += improved
        solve.solver_input.run()

A solver calls back in the thread that runs it (seen with `run` and `solve` of highspy 1.16 and
with event handlers of PySCIPOpt 6.3). `Highs.startSolve` calls back in a thread of its own, which
knows no task: there the one task that runs in this process is meant.
"""

from __future__ import annotations

import os
from typing import Any

from prefect.context import FlowRunContext, TaskRunContext

from ommx_prefect._recording.current import (
    CurrentRecording,
    innermost_recordings,
    recording_here,
)
from ommx_prefect.exceptions import NoCheckpointError

AMBIGUOUS = (
    "a checkpoint is not recorded: checkpoint() was called in a thread that belongs to no task, "
    "while several tasks run in this process. In the task's body take "
    "context = contextvars.copy_context(), and in that thread call context.run(checkpoint, ...)"
)


def checkpoint(**values: Any) -> None:
    """Make values durable at once as a part of the attempt that runs here.

    Whether the attempt ends or its process is killed, its Run has them: scalars as run
    parameters, the rest as attachments, by codec. The latest value of a name wins, and all values
    of one call become durable together. A name that the task logs on its Run as well, with
    another value, has the Run's value; the checkpoint's stands beside it as `name@checkpoint`.

    A value that cannot be recorded, or a disk that is full, is a warning and a note in the
    ledger; a solve never ends for it, unless the task says `on_error="raise"`.

    Args:
        values: Values by name, `checkpoint(incumbent=solution, gap=0.03)`. None leaves the
            earlier value of the name; texts too long for a run parameter are attached.

    Raises:
        NoCheckpointError: No recorded task runs here, or the one that did has ended.
        ForkedProcessError: It runs in the process from which this one was forked.
        RecordingError: The checkpoint could not be written, and on_error="raise".
    """
    recording = recording_here()
    if recording is None and _knows_no_run():
        recording = _only_one(innermost_recordings())
    elif recording is None:
        raise NoCheckpointError
    if recording is not None and values:
        recording.checkpoint(values)


def _knows_no_run() -> bool:
    """Tell whether this thread was started by a solver or the user, and knows no task."""
    return FlowRunContext.get() is None and TaskRunContext.get() is None


def _only_one(recordings: list[CurrentRecording]) -> CurrentRecording | None:
    if not recordings:
        raise NoCheckpointError
    if len(recordings) == 1 or recordings[0].attempt.pid != os.getpid():  # a fork, which is told so
        return recordings[0]
    for recording in recordings:
        recording.faults.note_once(AMBIGUOUS)
    return None
