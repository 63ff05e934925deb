"""How a flow run is sealed: a function of its stage and of what Prefect's API explains."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from prefect.client.schemas.objects import State

from ommx_prefect._flowrun.image_name import FlowRunFacts, anonymous_tag
from ommx_prefect._flowrun.pending import expected_task_runs, forget_task_runs, wait_for_pending
from ommx_prefect._format.compose import Composition, compose
from ommx_prefect._prefect.api import (
    TaskRunRow,
    api_client,
    await_task_runs,
    read_flow_run,
    read_lone_task_runs,
)
from ommx_prefect._prefect.log import warn
from ommx_prefect._prefect.states import EXPERIMENT_STATUS, Outcome, describe_error, one_line
from ommx_prefect._registry.names import NameMovedError, anonymous_name, checkpoint_name
from ommx_prefect._sealing.build import Draft, aliases_to_move, drafted, free_name
from ommx_prefect._sealing.previous import sealed_before
from ommx_prefect._sealing.publication import Publication, finish_publication, publish
from ommx_prefect._sealing.push_sealed import push_if_wanted, show_push
from ommx_prefect._sealing.result import (
    SealedExperiment,
    read_answer,
    read_sealed,
)
from ommx_prefect._sealing.staged import (
    Staged,
    explained,
    read_stage,
    repin,
)
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    STATE_RECORD,
    End,
    FlowRecord,
    read_end,
    read_flow_record,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._targets.choose import targets_for
from ommx_prefect._targets.protocol import Target
from ommx_prefect._values.secrets import Redactor, redact_known
from ommx_prefect.exceptions import (
    FlowRunNotFinishedError,
    NotSealedError,
    OmmxPrefectError,
    SealError,
)

# How long a seal waits for submitted tasks that nobody awaited: as long as Prefect would.
PENDING_SECONDS = 24 * 3600.0
# What is known here is a checkpoint, and less than what the other host has composed.
SEALED_ELSEWHERE = (
    "its records are gone from {}: another host has sealed it as finished. Ask there, or load its "
    "image name"
)


def seal(flow_run_id: object, *, stage: str | None = None) -> SealedExperiment:
    """Seal a flow run that has ended: compose its Runs into one Experiment and publish it.

    The flow's hook does this by itself; call it after a crash in which no hook fired, after a
    seal that failed, or to ask what was sealed. It may be called as often as you like: without
    new Runs the answer is the same, and what came later extends the experiment. With `push=True`
    on the flow, a push that failed before is tried again; `pushed` of the answer tells.

    Args:
        flow_run_id: Prefect's id of the flow run, as a UUID or text.
        stage: Where its shards wait, as for `ommx_prefect.flow`; a host on which the flow run
            never ran does not know by itself.

    Raises:
        FlowRunNotFinishedError: It has not ended.
        NotSealedError: Nothing of it was recorded on this Local Registry.
        SealError: It could not be sealed; its records are kept.
        StageError: The stage does not answer.
    """
    before = read_sealed(LocalStage(str(flow_run_id)))
    sealed = seal_flow_run(str(flow_run_id), stage=stage)
    show_push(before[0] if before else None, sealed)
    return sealed


def seal_flow_run(
    flow_run_id: str,
    state: State[Any] | None = None,
    *,
    end: End | None = None,
    stage: str | None = None,
    default: str | None = None,
    pending_seconds: float = PENDING_SECONDS,
) -> SealedExperiment:
    """Seal a flow run.

    Args:
        flow_run_id: Prefect's id.
        state: The state with which Prefect called a hook.
        end: How it ended, where the caller knows better than Prefect.
        stage: Where its shards wait, where the caller knows.
        default: The stage of its flow, where nobody knows better.
        pending_seconds: How long submitted tasks that nobody awaited are waited for.
    """
    place = stage_of(flow_run_id, stage, default)
    record = read_flow_record(place)
    if record is not None and record.owner != flow_run_id:
        return seal_flow_run(
            record.owner, stage=stage or record.stage, pending_seconds=pending_seconds
        )
    if record is None and read_sealed(place) is None and not place.exists():
        raise NotSealedError(flow_run_id)
    end = end or _end_of(place, state)
    wait_for_pending(flow_run_id, pending_seconds)
    if record is None:  # kept, so that a later seal finds the same name
        record = _unnamed(flow_run_id)
        place.write(FLOW_RECORD, asdict(record))
    return _sealed_or_explained(place, record, end)


def seal_task_run(attempt: Attempt, outcome: Outcome) -> SealedExperiment:
    """Seal the experiment of a task run outside any flow."""
    stage = LocalStage(attempt.owner)
    started = datetime.fromtimestamp(attempt.started_at, timezone.utc)
    record = read_flow_record(stage) or _unnamed(attempt.owner, attempt.task_run, started)
    stage.write(FLOW_RECORD, asdict(record))
    end = End(outcome.status, outcome.state, outcome.reason)
    stage.write(STATE_RECORD, asdict(end))
    return _sealed_or_explained(stage, record, end)


def _sealed_or_explained(stage: Stage, record: FlowRecord, end: End) -> SealedExperiment:
    try:
        with stage.locked():
            sealed = _seal_locked(stage, record, end)
            while _has_come_since(stage):  # its attempt saw no seal, and leaves it to this one
                sealed = _seal_locked(stage, record, end)
            return push_if_wanted(stage, record, sealed)
    except SealError:
        raise
    except (OmmxPrefectError, OSError, RuntimeError, ValueError) as error:
        raise SealError(stage.owner, describe_error(error)) from error


def _seal_locked(stage: Stage, record: FlowRecord, end: End) -> SealedExperiment:
    finish_publication(stage)
    before, sealed_keys = sealed_before(stage, record) or (None, frozenset())
    stage.collect(sealed_keys)
    staged = read_stage(stage, sealed_keys)
    is_news = bool(staged.keys or staged.cut_off)
    if before is None and not is_news:
        _require_nothing_lost(stage)
    if before and before.status == end.status and not is_news:
        if end.status == "finished":  # an earlier seal may have been cut off before this
            stage.release()
        return before
    if before and before.status != "finished" and stage.is_released():
        raise SealError(stage.owner, SEALED_ELSEWHERE.format(stage.name))
    rows, problems = _ask_prefect(record, staged)
    if staged.running or staged.cut_off:  # that takes a while, and they may have ended meanwhile
        stage.collect(sealed_keys)
        staged = read_stage(stage, sealed_keys)
    staged = explained(staged, {row.task_run_id: row for row in rows})
    target, draft, composition = _composed(stage, record, end, before, staged, rows, problems)
    repin(target, staged)
    target.store(composition)
    sealed = _answer(stage, target, end, draft, composition)
    finished = end.status == "finished"
    names = {sealed.stored_name: target.find(sealed.stored_name)}
    if finished:
        names |= aliases_to_move(target, record, before, draft.image_name)
    if free_name(target, record, end, before) != draft.image_name:  # taken while it was stored
        return _seal_locked(stage, record, end)
    keys = sorted({*staged.keys, *sealed_keys})
    try:
        publish(stage, target, Publication(sealed, names, tuple(keys), draft.cut_off))
    except NameMovedError:
        return _seal_locked(stage, record, end)
    if finished:
        stage.release()
    unwritten.forget(stage.owner, keys)
    forget_task_runs(stage.owner)
    return sealed


def _answer(
    stage: Stage, target: Target, end: End, draft: Draft, composition: Composition
) -> SealedExperiment:
    name, finished = draft.image_name, end.status == "finished"
    return SealedExperiment(
        flow_run_id=stage.owner,
        image_name=name,
        manifest_digest=composition.documents.digest,
        status=end.status,
        counts=draft.counts,
        warnings=(*draft.warnings, *composition.warnings),
        stored_name=name if finished else checkpoint_name(name),
        pushed=True if target.target_stage else None,
        composed_in=target.target_stage,
    )


def _has_come_since(stage: Stage) -> bool:
    _, keys = read_answer(stage) or (None, frozenset())
    staged = (*stage.shards(), *stage.shards("parts"))
    return any(shard.attempt.key not in keys for shard in staged)


def _require_nothing_lost(stage: Stage) -> None:
    """Raise SealError where there was an experiment, and nothing of it is left to seal again."""
    if found := read_answer(stage):
        sealed, _ = found
        name = f"{sealed.image_name} ({sealed.manifest_digest})"
        reason = f"its experiment {name} was removed, and with it what was recorded"
        raise SealError(stage.owner, reason)


def _composed(
    stage: Stage, record: FlowRecord, end: End, *what: Any
) -> tuple[Target, Draft, Composition]:
    """Compose an experiment for the best target that takes it."""
    *others, last = targets_for(stage, record.image_name, end.status)
    for target in others:
        draft = drafted(stage, target, record, end, *what)
        composition = compose(draft.experiment)
        if not (refusal := target.refusal(composition.documents)):
            return target, draft, composition
        warn(f"{draft.image_name} is sealed in the Local Registry instead of its own: {refusal}")
    draft = drafted(stage, last, record, end, *what)
    return last, draft, compose(draft.experiment)


def _end_of(stage: Stage, state: State[Any] | None) -> End:
    """Return how the flow run ended: from the hook, from Prefect, or as the hook left it."""
    if state is None:
        try:
            with api_client() as client:
                flow_run = read_flow_run(client, stage.owner)
            Redactor(flow_run.parameters)  # its secrets must not come back in Prefect's message
            state = flow_run.state
        except Exception as error:
            if end := read_end(stage):
                return end
            reason = f"Prefect's API does not tell how it ended ({describe_error(error)})"
            raise SealError(stage.owner, reason) from error
    status = EXPERIMENT_STATUS[state.type] if state else None
    if state is None or status is None:
        current = state.name if state else "unknown"
        reason = f"it is {current}, and has not ended; it is sealed when it ends"
        raise FlowRunNotFinishedError(stage.owner, reason)
    # The hook of a cancellation is called while the state is still Cancelling.
    name = (state.name or "").replace("Cancelling", "Cancelled")
    message = redact_known(f"{name}: {state.message or ''}").rstrip(": ")
    end = End(status, name, None if status == "finished" else one_line(message))
    stage.write(STATE_RECORD, asdict(end))
    return end


def _ask_prefect(record: FlowRecord, staged: Staged) -> tuple[list[TaskRunRow], list[str]]:
    """Ask the API for task runs; wait only for what the shards cannot tell."""
    flow_runs = {shard.attempt.flow_run_id for shard in staged.shards} | {record.flow_run_id}
    flow_runs |= {x.flow_run_id for x in (*staged.cut_off, *staged.running)} - {""}
    members = (x for x in staged.subflows.items() if x[1].get("owner") == record.owner)
    flow_runs |= {flow_run_id for flow_run_id, _ in members}
    ended = {shard.attempt.task_run_id for shard in staged.shards}
    gone = {attempt.task_run_id for attempt in staged.cut_off} - ended - {""}
    unexplained = {attempt.task_run_id for attempt in staged.running} - {""}
    unexplained |= expected_task_runs(record.owner) - ended - gone
    lone = {x.task_run_id for x in staged.cut_off if not x.flow_run_id} - {""}
    if "" in flow_runs and not lone:  # a task run outside flows: its shards tell all
        return [], []
    try:
        with api_client() as client:
            if lone:
                return read_lone_task_runs(client, lone), []
            return await_task_runs(client, flow_runs, ended - {""}, unexplained, gone), []
    except Exception as error:
        return [], [f"Prefect's API could not be asked for task runs: {describe_error(error)}"]


def _unnamed(owner: str, name: str = "", started: datetime | None = None) -> FlowRecord:
    """Return a record for a flow run that never came to write one, or a lone task run."""
    time = started or datetime.now(timezone.utc)
    facts = FlowRunFacts(owner, name, "", time, time, {})
    return FlowRecord(
        owner=owner,
        image_name=anonymous_name(anonymous_tag(facts)),
        replace=False,
        aliases=(),
        chosen=False,
        flow_run_id=owner,
        flow_run=name,
        flow="",
        deployment_id="",
        scheduled_time=time.isoformat(),
        parameters={},
    )
