"""Map Prefect's states to OMMX statuses: two tables, and the choice of a row."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import CancelledRun, PrefectSignal
from prefect.states import StateGroup, is_state_iterable

from ommx_prefect._values.error_texts import text_of_error

# Every final or lasting state of a task run -> status of its attempt's Run; None: there is no Run.
RUN_STATUS: dict[StateType, str | None] = {
    StateType.COMPLETED: "finished",
    StateType.FAILED: "failed",
    StateType.CRASHED: "interrupted",
    StateType.CANCELLED: "interrupted",
    StateType.CANCELLING: "interrupted",
    StateType.RUNNING: "interrupted",
    StateType.PAUSED: "interrupted",
    StateType.PENDING: None,
    StateType.SCHEDULED: None,
}

# State of a flow run -> status of its Experiment; None: the flow run has not ended.
EXPERIMENT_STATUS: dict[StateType, str | None] = {
    StateType.COMPLETED: "finished",
    StateType.FAILED: "failed",
    StateType.CRASHED: "interrupted",
    StateType.CANCELLED: "interrupted",
    # The hook of a cancellation is called while the state is still Cancelling.
    StateType.CANCELLING: "interrupted",
    StateType.RUNNING: None,
    StateType.PAUSED: None,
    StateType.PENDING: None,
    StateType.SCHEDULED: None,
}


class InterruptedElsewhere(KeyboardInterrupt):
    """The flow run of this attempt, whose body runs in another process, was interrupted."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: Run status, Prefect's name of the state, and the reason."""

    status: str
    state: str
    reason: str | None = None


def outcome_of_value(value: object) -> Outcome:
    """Return the outcome of an attempt that returned a value.

    A state that the function made decides. One of another run, or a list, tuple or set of states,
    goes by Prefect's aggregate rule (`prefect.states.return_value_to_state`).
    """
    if isinstance(value, State):
        details = value.state_details
        is_upstream = details.flow_run_id or details.task_run_id
        state = _aggregate([value]) if is_upstream else value
    elif is_state_iterable(value):
        state = _aggregate(list(value))
    else:
        return Outcome("finished", "Completed")
    status = RUN_STATUS[state.type] or "finished"
    reason = None if status == "finished" else (state.message or state.name)
    return Outcome(status, state.name or state.type.value.title(), reason)


def _aggregate(states: list[State[object]]) -> State[object]:
    group = StateGroup(states)
    total = group.total_count
    if group.all_completed():
        return State(type=StateType.COMPLETED)
    if count := group.cancelled_count:
        return State(type=StateType.CANCELLED, message=f"{count}/{total} states cancelled.")
    if count := group.paused_count:
        return State(type=StateType.PAUSED, message=f"{count}/{total} states paused.")
    if count := group.fail_count:
        return State(type=StateType.FAILED, message=f"{count}/{total} states failed.")
    not_final = f"{group.not_final_count}/{total} states are not final."
    return State(type=StateType.FAILED, message=not_final)


def outcome_of_exception(
    error: BaseException, elapsed_seconds: float, timeout_seconds: float | None
) -> Outcome:
    """Return the outcome of an attempt that raised; its reason is not yet cut to one line.

    Prefect interrupts a timed-out body with a BaseException (in a thread) or by cancelling its
    coroutine; it becomes TaskRunTimeoutError only outside the body, so the clock has to tell.
    """
    if isinstance(error, GeneratorExit):  # the consumer stopped early: Prefect says Completed
        return Outcome("finished", "Completed")
    timed_out = timeout_seconds is not None and elapsed_seconds >= timeout_seconds
    if timed_out and _is_cancellation(error):
        return Outcome("failed", "TimedOut", f"timed out after {timeout_seconds:g} seconds")
    if isinstance(error, TimeoutError):  # also one of the function's own
        return Outcome("failed", "TimedOut", text_of_error(error))
    if isinstance(error, Exception) and not _is_cancellation(error):
        return Outcome("failed", "Failed", text_of_error(error))
    is_elsewhere = isinstance(error, InterruptedElsewhere)
    return Outcome("interrupted", "Failed" if is_elsewhere else "Crashed", text_of_error(error))


def require_error_of_pool(error: BaseException | None) -> None:
    """Raise an ordinary error instead of an interruption, in a process of a pool.

    The thread that hands on the results of a process pool dies of all but errors, and the flow run
    waits for it for ever (Python 3.11, prefect 3.9.1).

    Raises:
        CancelledRun: The flow run was interrupted in another process.
    """
    if isinstance(error, InterruptedElsewhere):
        raise CancelledRun(str(error)) from error


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, (KeyboardInterrupt, SystemExit, PrefectSignal)):
        return False
    # Prefect's own, which it raises in threads, is one. That of `concurrent.futures` is an error.
    return isinstance(error, asyncio.CancelledError)
