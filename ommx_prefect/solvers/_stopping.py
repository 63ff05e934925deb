"""Stop a solve when its task times out, or its flow run is cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from prefect.context import TaskRunContext

from ommx_prefect._flowrun.interruptions import interruption_elsewhere, interruption_here
from ommx_prefect._prefect.states import InterruptedElsewhere
from ommx_prefect._recording.current import recording_here


def seconds_left() -> float | None:
    """Return how long the task that runs here may go on; None where it has no timeout.

    Prefect's clock has started with the task run's state Running.
    """
    context = TaskRunContext.get()
    timeout = context.task.timeout_seconds if context else None
    if context is None or timeout is None:
        return None
    state = context.task_run.state
    since = time.time() - state.timestamp.timestamp() if state else 0.0
    return max(0.0, timeout - max(0.0, since))


# Says who has won, in a race that this solve takes part in.
race_winner: ContextVar[Callable[[], str | None]] = ContextVar(
    "ommx_prefect_race_winner", default=lambda: None
)


class LostRace(KeyboardInterrupt):
    """Another solver was first.

    Args:
        winner: Who has won.
        has_begun: Whether this one was at work by then.
    """

    def __init__(self, winner: str, *, has_begun: bool = True) -> None:
        said = f"{winner} was first"
        super().__init__(said if has_begun else f"it never began: {said}")
        self.has_begun = has_begun


def require_flow_run() -> None:
    """Raise KeyboardInterrupt where a flow run around this was interrupted, or a race lost."""
    if (winner := race_winner.get()()) is not None:
        raise LostRace(winner)
    recording = recording_here()
    if recording is None:
        return
    attempt = recording.attempt  # a task runner that hands on no context has these at least
    told = interruption_elsewhere(attempt.flow_run_id, attempt.flow_attempt)
    # Asked second: who notes it for other processes has noted it in its own before.
    if (reason := interruption_here(attempt.flow_run_id, attempt.root_flow_run_id)) is not None:
        raise KeyboardInterrupt(reason)
    if told is not None:  # of a process pool, or a worker of Dask
        raise InterruptedElsewhere(told)
