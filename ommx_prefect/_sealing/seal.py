"""Seal a flow run from the records in its stage and the task runs in Prefect's API.

    load -> plan -> store -> publish

reads all that is known once, composes the experiment, stores and verifies it, and moves its names.
That is done again where another flow run has taken a name meanwhile, or records have come since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from prefect.client.schemas.objects import State

from ommx_prefect._flowrun.ids import parse_flow_run_id
from ommx_prefect._flowrun.pending import wait_for_pending
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._registry.names import NameMovedError
from ommx_prefect._sealing.flow_run import end_of, find_flow_run, unnamed_record
from ommx_prefect._sealing.load import SealInputs, load
from ommx_prefect._sealing.plan import plan_experiment
from ommx_prefect._sealing.publish import finish_publication, keep_payload, publish, store
from ommx_prefect._sealing.push import push_if_wanted
from ommx_prefect._sealing.records import has_more
from ommx_prefect._sealing.result import (
    PreviousSeal,
    SealedExperiment,
    read_previous,
    read_sealed,
)
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.damage import damage_error, damaged_files, names_damage, set_aside_payload
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    STATE_RECORD,
    End,
    FlowRecord,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.store import GoneError
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import (
    DocumentError,
    NotSealedError,
    OmmxPrefectError,
    SealError,
    StageError,
)

# What a damaged record, or lost payload, makes a seal raise: of ours, and of OMMX.
DAMAGE = (DocumentError, RuntimeError, ValueError, FileNotFoundError)
LONGEST_REASON = 1000


@dataclass(frozen=True)
class Seal:
    """One call of a seal.

    Attributes:
        sealed: The experiment.
        was_pushed: `pushed` of the seal before, where that is still published.
        was_digest: Digest of that seal, likewise; empty where there is none.
    """

    sealed: SealedExperiment
    was_pushed: bool | None
    was_digest: str = ""


def seal_by_id(flow_run_id: object, *, stage: str | None = None, end: End | None = None) -> Seal:
    """Seal a flow run by its id, as `ommx_prefect.seal` does, without reporting it in Prefect."""
    place, record = find_flow_run(parse_flow_run_id(flow_run_id), stage)
    return seal_found(place, record, end=end, given_stage=stage)


def seal_flow_run(
    flow_run_id: str,
    state: State[Any] | None = None,
    *,
    end: End | None = None,
    stage: str | None = None,
    pending_seconds: float | None = None,
) -> SealedExperiment:
    """Seal a flow run.

    Args:
        flow_run_id: Prefect's id.
        state: The state in which Prefect says it ended.
        end: How it ended, where the caller knows better than Prefect.
        stage: Where its shards wait, where the caller knows.
        pending_seconds: How long submitted tasks that nobody awaited are waited for; None for the
            setting.
    """
    place, record = find_flow_run(flow_run_id, stage)
    done = seal_found(
        place, record, state, end=end, given_stage=stage, pending_seconds=pending_seconds
    )
    return done.sealed


def seal_found(
    stage: Stage,
    record: FlowRecord | None,
    state: State[Any] | None = None,
    *,
    end: End | None = None,
    given_stage: str | None = None,
    pending_seconds: float | None = None,
) -> Seal:
    """Seal a flow run whose stage and record are known; of a subflow, the enclosing flow run.

    Args:
        stage: The stage of the flow run.
        record: Its record; None where it never came to write one.
        state: As for `seal_flow_run`.
        end: As for `seal_flow_run`.
        given_stage: Where its shards wait, as the caller said it.
        pending_seconds: As for `seal_flow_run`.
    """
    if record is not None and record.root_flow_run_id != stage.flow_run_id:
        elsewhere = given_stage or record.stage
        place, known = find_flow_run(record.root_flow_run_id, elsewhere)
        return seal_found(place, known, given_stage=elsewhere, pending_seconds=pending_seconds)
    if record is None and read_sealed(stage) is None and not stage.exists():
        raise NotSealedError(stage.flow_run_id)
    end = end or end_of(stage, state)
    wait_for_pending(stage.flow_run_id, pending_seconds)
    if record is None:  # kept, so that a later seal finds the same name
        record = unnamed_record(stage.flow_run_id)
        write_document(stage, FLOW_RECORD, record)
    return _seal_or_explain(stage, record, end)


def seal_task_run(attempt: Attempt, outcome: Outcome) -> SealedExperiment:
    """Seal the experiment of a task run outside any flow."""
    stage = LocalStage(attempt.root_flow_run_id)
    started = datetime.fromtimestamp(attempt.started_at, timezone.utc)
    record = read_flow_record(stage) or unnamed_record(
        attempt.root_flow_run_id, attempt.task_run, started
    )
    write_document(stage, FLOW_RECORD, record)
    end = End(outcome.status, outcome.state, outcome.reason)
    write_document(stage, STATE_RECORD, end)
    return _seal_or_explain(stage, record, end).sealed


def _seal_or_explain(stage: Stage, record: FlowRecord, end: End) -> Seal:
    """Seal a flow run that no other process of this host seals meanwhile, and push it if wanted."""
    try:
        with stage.locked():
            last = read_previous(stage)
            was = last.sealed if last and last.is_published() else None
            published = _seal_all(stage, record, end, finish_publication(stage, last))
            sealed = push_if_wanted(stage, record, published)
            if was is None:
                return Seal(sealed, None)
            return Seal(sealed, was.pushed, was.manifest_digest)
    except SealError:
        raise
    except (OmmxPrefectError, OSError, RuntimeError, ValueError) as error:
        raise SealError(stage.flow_run_id, _explained(stage, error)) from error


def _explained(stage: Stage, error: Exception) -> str:
    """Say why a seal failed; where damaged records are why, name them and what can be done."""
    if isinstance(error, DocumentError) and names_damage(error):  # as a shared place has them
        return f"{type(error).__name__}: {error.reason[:LONGEST_REASON]}"
    if not isinstance(error, DAMAGE) or _is_of_the_place(error):
        return describe_error(error)
    local = LocalStage(stage.flow_run_id, stage.path)
    errors = {name: each for name, _, each in damaged_files(local)}
    set_aside_payload(local)
    if not errors and isinstance(error, DocumentError):
        errors = {"": error}
    if not errors:
        return describe_error(error)
    found = damage_error(stage.flow_run_id, errors)
    return f"{type(found).__name__}: {found.reason[:LONGEST_REASON]}"


def _is_of_the_place(error: Exception) -> bool:
    return isinstance(error, StageError) and not isinstance(error, GoneError)


def _seal_all(
    stage: Stage, record: FlowRecord, end: End, last: PreviousSeal | None
) -> PreviousSeal:
    """Seal until no name is taken meanwhile, and nothing waits.

    An attempt whose record comes while others are sealed has seen no seal, and leaves it to this
    one.
    """
    while True:
        try:  # who reads the records does not keep them: they are let go of once composed
            published = _published(load(stage, record, end, last))
        except NameMovedError:  # another flow run has it now: choose the names again
            continue
        if not has_more(stage, published.keys):
            return published
        last = published


def _published(inputs: SealInputs) -> PreviousSeal:
    """Plan, store and publish an experiment; or return the last one where it holds all."""
    if inputs.is_sealed and inputs.previous:
        if inputs.is_finished:  # an earlier seal may have been killed before this
            inputs.stage.release()
        return inputs.previous
    plan = plan_experiment(inputs)
    del inputs
    keep_payload(plan)
    plan = plan.without_ledger
    store(plan)
    return publish(plan)
