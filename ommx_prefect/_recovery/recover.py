"""Seal the flow runs that no hook has sealed, because no hook ran."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from ommx_prefect._prefect.states import Outcome
from ommx_prefect._recovery.decision import Decision, decide
from ommx_prefect._recovery.failures import tell_failed
from ommx_prefect._recovery.prefect_answer import (
    UNKNOWN,
    PrefectAnswer,
    PrefectConnection,
    ask,
    connect,
    mark_crashed,
)
from ommx_prefect._recovery.unsealed import Unsealed, read_unsealed
from ommx_prefect._reporting.night import FlowRunFacts, facts_of
from ommx_prefect._reporting.publish import report_sealed
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal_flow_run, seal_task_run
from ommx_prefect._stages.damage import damage_error, damaged_files
from ommx_prefect._stages.documents import OUTBOX_RECORD
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect._targets import annotations as names
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import redact_known
from ommx_prefect.exceptions import DocumentError

MIN_AGE_SECONDS = 600.0

Done = Literal["sealed", "sent", "waits", "would seal", "would send", "failed"]


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What was found, and done, about one flow run (or task run outside flows).

    Attributes:
        flow_run_id: Prefect's id.
        name: Prefect's name, where it is known here or to Prefect.
        flow: The name of its flow, likewise, or `unknown`; empty for a task run outside flows.
        state: Prefect's name of the state, or `unknown`.
        since: When the oldest unsealed record was written, ISO 8601, UTC.
        ended: Number of attempts that wait, and ended.
        open: Number of attempts that wait, and left no record of their end.
        done: `sealed`; `sent`, to the stage that the host which seals reads; `waits`, for something
            to end; `would seal` or `would send` (a dry run); or `failed`.
        why: One sentence.
        sealed: The experiment, where it was sealed.
    """

    flow_run_id: str
    name: str
    state: str
    since: str
    ended: int
    open: int
    done: Done
    why: str
    sealed: SealedExperiment | None = None
    flow: str = ""


@dataclass(frozen=True)
class Recovery:
    """How to recover: see `recover`."""

    min_age_seconds: float = MIN_AGE_SECONDS
    mark_crashed: bool = False
    dry_run: bool = False


def recover(
    *,
    min_age_seconds: float = MIN_AGE_SECONDS,
    mark_crashed: bool = False,
    dry_run: bool = False,
) -> Iterator[Recovered]:
    """Seal every flow run of this Local Registry that ended, or died, and was not sealed.

    It may be called at any time and as often as you like, by two at once, and beside running
    flow runs and hooks that seal the same ones.

    Args:
        min_age_seconds: What was touched later, here or in Prefect, is left alone.
        mark_crashed: Tell Prefect that a Running flow run whose process is gone is Crashed; also
            of those that were sealed without telling it.
        dry_run: Only say what would be done.

    Yields:
        What was found and done, one by one.
    """
    how = Recovery(min_age_seconds, mark_crashed, dry_run)
    flow_run_ids = unsealed_flow_runs(unended=mark_crashed)
    if not flow_run_ids:
        return  # the usual case from cron: Prefect is not even asked
    with contextlib.ExitStack() as stack:
        prefect = connect(stack)
        for flow_run_id in flow_run_ids:
            yield from recover_one(flow_run_id, how, prefect)


def recover_one(flow_run_id: str, how: Recovery, prefect: PrefectConnection) -> Iterator[Recovered]:
    """Recover one flow run, or lone task run; yield nothing where nothing of it is unsealed."""
    for row in _recover(flow_run_id, how, prefect):
        if row.done == "failed" and not how.dry_run:
            # Of one that Prefect does not know.
            mend = f"ommx-prefect seal {flow_run_id} --interrupted"
            facts = FlowRunFacts(flow_run_id, row.name, "", row.flow, mend=mend)
            tell_failed(prefect, facts, row.why)
        yield row


def _recover(flow_run_id: str, how: Recovery, prefect: PrefectConnection) -> Iterator[Recovered]:
    try:
        unsealed = read_unsealed(flow_run_id)
    except Exception as error:
        if not how.dry_run:
            _send_the_rest(flow_run_id)
        yield _unreadable(flow_run_id, error)
        return
    if unsealed is None:
        return
    if unsealed.record is None and unsealed.stage.has(OUTBOX_RECORD):
        yield _send_outbox(unsealed, how)
        return
    answer = ask(unsealed, prefect)
    try:
        decision = decide(unsealed, answer, how.min_age_seconds, time.time())
    except DocumentError as error:  # how it ended, as its stage has it
        yield _unreadable(flow_run_id, error)
        return
    if decision.action == "wait" and unsealed.is_sealed and not unsealed.has_records:
        return  # sealed, running again, and nothing new yet
    yield _carried_out(unsealed, answer, decision, how, prefect)


def _unreadable(flow_run_id: str, error: Exception) -> Recovered:
    why = f"its records cannot be read: {describe_error(_naming_damage(flow_run_id, error))}"
    return Recovered(
        flow_run_id=flow_run_id,
        name="",
        state=UNKNOWN,
        since="",
        ended=0,
        open=0,
        done="failed",
        why=why,
        flow=names.UNKNOWN,
    )


def _send_the_rest(flow_run_id: str) -> None:
    """Send the undamaged records of a worker's host; the flow run is sealed elsewhere."""
    with contextlib.suppress(Exception):  # what stays is told of with the damage
        stage = stage_of(flow_run_id)
        if isinstance(stage, SharedStage) and not stage.is_own():
            stage.flush()


def _naming_damage(flow_run_id: str, error: Exception) -> Exception:
    """Return an error that names each damaged record, where damage is the reason."""
    if not isinstance(error, DocumentError):
        return error
    errors = {name: each for name, _, each in damaged_files(LocalStage(flow_run_id))}
    return damage_error(flow_run_id, errors or {"": error})


def _send_outbox(unsealed: Unsealed, how: Recovery) -> Recovered:
    """Send the records that a worker's host could not send; the flow run is sealed elsewhere."""
    stage = stage_of(unsealed.flow_run_id)
    age = time.time() - unsealed.touched
    if age < how.min_age_seconds:
        return _row(unsealed, PrefectAnswer(), "waits", f"it was touched {age:.0f} s ago")
    if how.dry_run or not isinstance(stage, SharedStage):
        return _row(unsealed, PrefectAnswer(), "would send", f"its stage is {stage.name}")
    try:
        problem = stage.flush()
    except Exception as error:
        problem = describe_error(error)
    if problem:
        return _row(unsealed, PrefectAnswer(), "failed", f"its records cannot be sent: {problem}")
    why = f"its records went to {stage.name}; if it is sealed already, seal it once more there"
    return _row(unsealed, PrefectAnswer(), "sent", why)


def _carried_out(
    unsealed: Unsealed,
    answer: PrefectAnswer,
    decision: Decision,
    how: Recovery,
    prefect: PrefectConnection,
) -> Recovered:
    if decision.action == "wait":
        return _row(unsealed, answer, "waits", decision.why)
    if decision.action == "manual":
        return _row(unsealed, answer, "failed", decision.why)
    if how.dry_run:
        return _row(unsealed, answer, "would seal", decision.why)
    why = decision.why
    if how.mark_crashed and decision.is_dead and prefect.client is not None:
        state, refusal = mark_crashed(prefect.client, unsealed.flow_run_id, decision.why)
        decision = Decision("seal", why, state=state) if state else decision
        why += "; Prefect was told" if state else f"; Prefect refused to call it Crashed: {refusal}"
    try:
        sealed = seal_decided(unsealed, decision)
    except Exception as error:
        return _row(unsealed, answer, "failed", describe_error(error))
    _report(answer, sealed)
    return _row(unsealed, answer, "sealed", why, sealed)


def seal_decided(unsealed: Unsealed, decision: Decision) -> SealedExperiment:
    """Seal a flow run, or lone task run, as it was decided."""
    attempt, end = unsealed.lone_attempt, decision.end
    if attempt is not None and end is not None:
        return seal_task_run(attempt, Outcome(end.status, end.state, end.reason))
    return seal_flow_run(unsealed.flow_run_id, decision.state, end=end)


def _report(answer: PrefectAnswer, sealed: SealedExperiment) -> None:
    if answer.flow_run is not None:
        report_sealed(facts_of(answer.flow_run, answer.flow), sealed)


def _row(
    unsealed: Unsealed,
    answer: PrefectAnswer,
    done: Done,
    why: str,
    sealed: SealedExperiment | None = None,
) -> Recovered:
    since = datetime.fromtimestamp(unsealed.since, timezone.utc)
    name = unsealed.name or (redact_known(answer.flow_run.name) if answer.flow_run else "")
    return Recovered(
        flow_run_id=unsealed.flow_run_id,
        name=name,
        flow=answer.flow or unsealed.flow,
        state=(answer.state.name if answer.state else None) or UNKNOWN,
        since=since.isoformat(timespec="seconds"),
        ended=len(unsealed.shards),
        open=len(unsealed.open_attempts),
        done=done,
        why=why,
        sealed=sealed,
    )
