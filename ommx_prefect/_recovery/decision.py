"""Decide what to do about unsealed records, by Prefect's state and the processes alive.

Prefect is asked before anything is called dead. A flow run that Prefect calls Running for ever
is dead only where its process is known, and gone from this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from prefect.client.schemas.objects import State, StateType

from ommx_prefect._prefect.states import RUN_STATUS
from ommx_prefect._recovery.prefect_answer import UNKNOWN, PrefectAnswer
from ommx_prefect._recovery.unsealed import Unsealed
from ommx_prefect._shards import columns
from ommx_prefect._shards.process import whereabouts
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import End, read_end

# Type of a flow run's state that is not final -> why its records wait on.
WAITS_FOR: dict[StateType, str] = {
    StateType.SCHEDULED: "it is to run again",
    StateType.PENDING: "it is about to run",
    StateType.PAUSED: "it waits to be resumed",
    StateType.RUNNING: "it runs",
    StateType.CANCELLING: "it is being cancelled",
}
# In these a process must be at it; in the others none need be.
ATTENDED = (StateType.RUNNING, StateType.CANCELLING)


@dataclass(frozen=True)
class Decision:
    """What `recover` does about the records in a stage, and why.

    Attributes:
        action: `seal`; `wait`; or `manual`: a person has to decide.
        why: One sentence.
        state: The final state to seal with, as Prefect gives it.
        end: How it ended, where Prefect does not say so.
        is_dead: Whether Prefect calls the flow run Running and its process is gone.
    """

    action: Literal["seal", "wait", "manual"]
    why: str
    state: State[Any] | None = None
    end: End | None = None
    is_dead: bool = False


def _younger(min_age_seconds: float) -> str:
    return f"--min-age is {min_age_seconds:.0f}s"


def decide(
    unsealed: Unsealed, answer: PrefectAnswer, min_age_seconds: float, now: float
) -> Decision:
    """Decide what to do about the records in a stage."""
    touched = now - unsealed.touched
    if touched < min_age_seconds:
        return Decision("wait", f"it was touched {touched:.0f} s ago; {_younger(min_age_seconds)}")
    attempt = unsealed.lone_attempt
    if attempt is not None:
        return _decide_task_run(unsealed, attempt, answer)
    if answer.problem or answer.state is None:
        return _decide_unasked(unsealed, answer.problem)
    changed = now - answer.state.timestamp.timestamp()
    if changed < min_age_seconds:
        why = f"Prefect has called it {answer.state.name} for {changed:.0f} s"
        return Decision("wait", f"{why}; {_younger(min_age_seconds)}")
    if answer.state.is_final():
        return Decision("seal", f"Prefect calls it {answer.state.name}", state=answer.state)
    if answer.state.type in ATTENDED:
        return _decide_running(unsealed, answer.state)
    return Decision("wait", WAITS_FOR[answer.state.type])


def _decide_running(unsealed: Unsealed, state: State[Any]) -> Decision:
    waits = WAITS_FOR[state.type]
    process = unsealed.process
    if process is None:
        return Decision("wait", f"{waits}, and who runs it was not noted")
    if (where := whereabouts(process)) != "gone":
        place = "here" if where == "alive" else f"on {process.host}"
        return Decision("wait", f"{waits} {place}, in process {process.pid}")
    for attempt in unsealed.open_attempts:
        if whereabouts(attempt) == "alive":
            here = f"{attempt.task_run or attempt.task} still runs here, in process {attempt.pid}"
            return Decision("wait", f"its process {process.pid} is gone, but {here}")
    why = (
        f"its process {process.pid} on {process.host} is gone, and nobody told Prefect, which "
        f"calls it {state.name}"
    )
    end = End("interrupted", state.name or "", why)
    return Decision("seal", why, end=end, is_dead=state.type == StateType.RUNNING)


def _decide_unasked(unsealed: Unsealed, problem: str) -> Decision:
    if end := read_end(unsealed.stage):
        return Decision("seal", f"its hook was told that it is {end.state}", end=end)
    if problem:
        return Decision("manual", f"Prefect's API cannot be asked: {problem}")
    why = "Prefect does not know it (PREFECT_API_URL?); seal it with: ommx-prefect seal "
    return Decision("manual", f"{why}{unsealed.flow_run_id} --interrupted")


def _decide_task_run(unsealed: Unsealed, attempt: Attempt, answer: PrefectAnswer) -> Decision:
    for shard in unsealed.shards:
        if shard.attempt.key == attempt.key:
            end = end_of_shard(shard)
            return Decision("seal", f"its last attempt is {end.status}", end=end)
    where, state = whereabouts(attempt), answer.state
    if where == "alive":
        return Decision("wait", f"it runs here, in process {attempt.pid}")
    if answer.problem:
        return Decision("manual", f"Prefect's API cannot be asked: {answer.problem}")
    name = (state.name if state else None) or UNKNOWN
    if state is not None and state.is_final():
        why = f"Prefect calls it {name}"
        return Decision("seal", why, end=End(RUN_STATUS[state.type] or "interrupted", name, why))
    if state is not None and state.type in (StateType.SCHEDULED, StateType.PAUSED):
        return Decision("wait", WAITS_FOR[state.type])
    if where == "elsewhere":
        return Decision("wait", f"it runs on {attempt.host}, in process {attempt.pid}")
    why = f"its process {attempt.pid} on {attempt.host} is gone; Prefect's last state is {name}"
    return Decision("seal", why, end=End("interrupted", name, why))


def end_of_shard(shard: Shard) -> End:
    """Return how the one Run of an experiment outside flows makes the experiment end."""
    reason = None if shard.status == "finished" else shard.reason
    return End(shard.status, str(shard.parameters.get(columns.STATE, "")), reason)
