"""How flow runs are sealed that no hook has sealed, because no hook ran."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from ommx_prefect._prefect.api import api_client, read_flow_run
from ommx_prefect._prefect.log import warn
from ommx_prefect._prefect.states import Outcome, describe_error
from ommx_prefect._recovery.decision import UNKNOWN, Answer, Verdict, judge
from ommx_prefect._recovery.unsealed import Waiting, survey, waiting_owners
from ommx_prefect._sealing.report import report_sealed
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal, seal_flow_run, seal_task_run
from ommx_prefect._stages.documents import OUTBOX_RECORD, End, read_end
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._stages.shared import MirroredStage
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import SealError

MIN_AGE_SECONDS = 600.0

Done = Literal["sealed", "sent", "waits", "would seal", "would send", "failed"]


@dataclass(frozen=True)
class Recovered:
    """What was found, and done, about one flow run (or task run outside flows).

    Attributes:
        owner: Prefect's id.
        name: Prefect's name, where it is known.
        state: Prefect's name of the state, or `unknown`.
        since: When the oldest unsealed record was written, ISO 8601, UTC.
        ended: Number of attempts that wait, and ended.
        open: Number of attempts that wait, and left no record of their end.
        done: `sealed`; `sent`, to the stage that the host which seals reads; `waits`, for something
            to end; `would seal` or `would send` (a dry run); or `failed`.
        why: One sentence.
        sealed: The experiment, where it was sealed.
    """

    owner: str
    name: str
    state: str
    since: str
    ended: int
    open: int
    done: Done
    why: str
    sealed: SealedExperiment | None = None


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
    owners = waiting_owners(unended=mark_crashed)
    if not owners:
        return  # the usual case from cron: Prefect is not even asked
    with contextlib.ExitStack() as stack:
        client, problem = _connect(stack)
        for owner in owners:
            yield from _recover_one(owner, how, client, problem)


def _connect(stack: contextlib.ExitStack) -> tuple[SyncPrefectClient | None, str]:
    try:
        client = stack.enter_context(api_client())
        error = client.api_healthcheck()
    except Exception as raised:  # a temporary server that does not start, a URL that is none
        return None, describe_error(raised)
    return (None, f"{client.api_url} {describe_error(error)}") if error else (client, "")


def _recover_one(
    owner: str, how: Recovery, client: SyncPrefectClient | None, problem: str
) -> Iterator[Recovered]:
    try:
        waiting = survey(owner)
    except Exception as error:
        why = f"its records cannot be read: {describe_error(error)}"
        yield Recovered(owner, "", UNKNOWN, "", 0, 0, "failed", why)
        return
    if waiting is None:
        return
    if waiting.record is None and waiting.stage.has(OUTBOX_RECORD):
        yield _sent_out(waiting, how)
        return
    answer = _ask(waiting, client, problem)
    verdict = judge(waiting, answer, how.min_age_seconds, time.time())
    if verdict.action == "wait" and waiting.is_sealed and not waiting.has_records:
        return  # sealed, running again, and nothing new yet
    yield _done(waiting, answer, verdict, how, client)


def _sent_out(waiting: Waiting, how: Recovery) -> Recovered:
    """Send what a worker's host could not send; its flow run is sealed elsewhere."""
    stage = stage_of(waiting.owner)
    age = time.time() - waiting.touched
    if age < how.min_age_seconds:
        return _row(waiting, Answer(), "waits", f"it was touched {age:.0f} s ago")
    if how.dry_run or not isinstance(stage, MirroredStage):
        return _row(waiting, Answer(), "would send", f"its stage is {stage.name}")
    try:
        problem = stage.flush()
    except Exception as error:
        problem = describe_error(error)
    if problem:
        return _row(waiting, Answer(), "failed", f"its records cannot be sent: {problem}")
    why = f"its records went to {stage.name}; if it is sealed already, seal it once more there"
    return _row(waiting, Answer(), "sent", why)


def _done(
    waiting: Waiting,
    answer: Answer,
    verdict: Verdict,
    how: Recovery,
    client: SyncPrefectClient | None,
) -> Recovered:
    if verdict.action == "wait":
        return _row(waiting, answer, "waits", verdict.why)
    if verdict.action == "stuck":
        return _row(waiting, answer, "failed", verdict.why)
    if how.dry_run:
        return _row(waiting, answer, "would seal", verdict.why)
    why = verdict.why
    if how.mark_crashed and verdict.is_dead and client is not None:
        state, refusal = _mark_crashed(client, waiting.owner, verdict.why)
        verdict = Verdict("seal", why, state=state) if state else verdict
        why += "; Prefect was told" if state else f"; Prefect refused to call it Crashed: {refusal}"
    try:
        sealed = _seal(waiting, verdict)
    except Exception as error:
        return _row(waiting, answer, "failed", describe_error(error))
    _report(answer, sealed)
    return _row(waiting, answer, "sealed", why, sealed)


def _ask(waiting: Waiting, client: SyncPrefectClient | None, problem: str) -> Answer:
    """Ask Prefect for the state of what waits."""
    if client is None:
        return Answer(problem=problem)
    try:
        if waiting.lone_attempt is not None:
            return Answer(client.read_task_run(UUID(waiting.owner)).state)
        flow_run = read_flow_run(client, waiting.owner)
    except ObjectNotFound:
        return Answer()
    except Exception as error:
        return Answer(problem=describe_error(error))
    Redactor(flow_run.parameters)  # its secrets must not come back in a message of Prefect's
    return Answer(flow_run.state, flow_run)


def _seal(waiting: Waiting, verdict: Verdict) -> SealedExperiment:
    attempt, end = waiting.lone_attempt, verdict.end
    if attempt is not None and end is not None:
        return seal_task_run(attempt, Outcome(end.status, end.state, end.reason))
    return seal_flow_run(waiting.owner, verdict.state, end=end)


def seal_by_hand(
    owner: str, *, interrupted: bool = False, stage: str | None = None
) -> SealedExperiment:
    """Seal one flow run, or task run outside flows, now.

    Args:
        owner: Prefect's id of it.
        interrupted: Do not ask Prefect how it ended: it was interrupted.
        stage: Where its shards wait, as for `ommx_prefect.seal`.

    Raises:
        NotSealedError: Nothing of it was recorded on this Local Registry.
        SealError: It could not be sealed, or is known not to be interrupted; its records are kept.
    """
    waiting = survey(owner)
    is_lone = waiting is not None and waiting.lone_attempt is not None
    if interrupted:
        known = read_end(stage_of(owner, stage))
        if known is not None and known.status != "interrupted":
            reason = f"it is known to be {known.state}; seal it without calling it interrupted"
            raise SealError(owner, reason)
        end = End("interrupted", UNKNOWN, "it was called interrupted by hand")
        if waiting is not None and is_lone:
            return _seal(waiting, Verdict("seal", "", end=end))
        return seal_flow_run(owner, end=end, stage=stage)
    if not is_lone:
        return seal(owner, stage=stage)
    found = next(_recover_now(owner))
    if found.sealed is None:
        raise SealError(owner, found.why)
    return found.sealed


def _recover_now(owner: str) -> Iterator[Recovered]:
    with contextlib.ExitStack() as stack:
        yield from _recover_one(owner, Recovery(min_age_seconds=0), *_connect(stack))


def _mark_crashed(
    client: SyncPrefectClient, flow_run_id: str, why: str
) -> tuple[State[Any] | None, str]:
    """Propose Crashed to Prefect; return the state, or why Prefect refused."""
    state: State[Any] = Crashed(message=f"ommx-prefect recover: {why}")
    try:
        answer = client.set_flow_run_state(UUID(flow_run_id), state)
    except Exception as error:
        return None, describe_error(error)
    accepted = answer.status == SetStateStatus.ACCEPT
    return (state, "") if accepted else (None, f"{answer.status.value} {answer.details}")


def _report(answer: Answer, sealed: SealedExperiment) -> None:
    if answer.flow_run is None:
        return
    try:
        report_sealed(answer.flow_run, sealed)
    except Exception as error:
        warn(f"The experiment is sealed; the UI was not told: {describe_error(error)}")


def _row(
    waiting: Waiting,
    answer: Answer,
    done: Done,
    why: str,
    sealed: SealedExperiment | None = None,
) -> Recovered:
    since = datetime.fromtimestamp(waiting.since, timezone.utc).isoformat(timespec="seconds")
    state = (answer.state.name if answer.state else None) or UNKNOWN
    ended, left_open = len(waiting.shards), len(waiting.open_attempts)
    return Recovered(waiting.owner, waiting.name, state, since, ended, left_open, done, why, sealed)
