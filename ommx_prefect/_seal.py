"""How a flow run is sealed: a function of its stage and of what Prefect's API explains."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from prefect.client.schemas.objects import State
from prefect.utilities.urls import url_for

from ommx_prefect import _ledger, _lost
from ommx_prefect._checkpoint_files import CheckpointFiles
from ommx_prefect._compose import Composition, compose, settle_columns
from ommx_prefect._encode import columns_of
from ommx_prefect._flow_start import FLOW_RECORD, STATE_RECORD, FlowRecord, read_flow_record
from ommx_prefect._gather import (
    Staged,
    attachments_of,
    count_by_status,
    entries_of,
    entries_of_sealed,
    explained,
    joined,
    read_stage,
    repin,
    settle,
)
from ommx_prefect._home import Home
from ommx_prefect._homes import homes_for
from ommx_prefect._image_name import FlowRunFacts, anonymous_tag, with_tag
from ommx_prefect._inputs import redact_known
from ommx_prefect._ledger import Entry
from ommx_prefect._log import warn
from ommx_prefect._pending import forget_submitted, submitted_task_runs, wait_for_pending
from ommx_prefect._prefect_api import (
    TaskRunRow,
    api_client,
    await_task_runs,
    deployment_name,
    read_flow_run,
)
from ommx_prefect._publication import Publication, finish_publication, publish
from ommx_prefect._push_sealed import push_if_wanted, show_push
from ommx_prefect._records import Attachments, Descriptor, ExperimentRecord
from ommx_prefect._registry import anonymous_name, checkpoint_name
from ommx_prefect._sealed import (
    FLOW_RUN_ANNOTATION,
    SealedExperiment,
    home_of_sealed,
    read_sealed,
)
from ommx_prefect._shards import Attempt
from ommx_prefect._stage import LocalStage
from ommx_prefect._stages import stage_of
from ommx_prefect._stand_ins import with_stand_ins
from ommx_prefect._standing import adopt
from ommx_prefect._states import EXPERIMENT_STATUS, Outcome, describe_error, one_line
from ommx_prefect.exceptions import (
    FlowRunNotFinishedError,
    NotSealedError,
    OmmxPrefectError,
    SealError,
)

# How long a seal waits for submitted tasks that nobody awaited: as long as Prefect would.
PENDING_SECONDS = 24 * 3600.0
# Of a task run, in a warning.
LONGEST_NAME = 80
PREFIX = "org.ommx-prefect."
DEGRADED = f"{PREFIX}degraded"
WARNINGS = f"{PREFIX}warnings"


@dataclass(frozen=True)
class End:
    """How a flow run ended: Experiment status, Prefect's name of the state, and the reason."""

    status: str
    state: str
    reason: str | None


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
) -> SealedExperiment:
    """Seal a flow run.

    Args:
        flow_run_id: Prefect's id.
        state: The state with which Prefect called a hook.
        end: How it ended, where the caller knows better than Prefect.
        stage: Where its shards wait, where the caller knows.
        default: The stage of its flow, where nobody knows better.
    """
    place = stage_of(flow_run_id, stage, default)
    record = read_flow_record(place)
    if record is not None and record.owner != flow_run_id:
        return seal_flow_run(record.owner, stage=stage or record.stage)
    if record is None and read_sealed(place) is None and not place.exists():
        raise NotSealedError(flow_run_id)
    end = end or _end_of(place, state)
    wait_for_pending(flow_run_id, PENDING_SECONDS)
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
    return _sealed_or_explained(stage, record, end)


def _sealed_or_explained(stage: LocalStage, record: FlowRecord, end: End) -> SealedExperiment:
    try:
        with stage.locked():
            return push_if_wanted(stage, record, _seal_locked(stage, record, end))
    except SealError:
        raise
    except (OmmxPrefectError, OSError, RuntimeError, ValueError) as error:
        raise SealError(stage.owner, describe_error(error)) from error


def _seal_locked(stage: LocalStage, record: FlowRecord, end: End) -> SealedExperiment:
    finish_publication(stage, replace=record.replace)
    found = read_sealed(stage) or adopt(stage, record)
    before, sealed_keys = found or (None, frozenset())
    stage.collect(sealed_keys)
    staged = read_stage(stage, sealed_keys)
    finished = end.status == "finished"
    if before and not staged.keys and not staged.cut_off and before.status == end.status:
        if finished:  # an earlier seal may have been cut off before this
            stage.release()
        return before
    rows, problems = _ask_prefect(record, staged)
    if staged.running or staged.cut_off:  # that takes a while, and they may have ended meanwhile
        stage.collect(sealed_keys)
        staged = read_stage(stage, sealed_keys)
    staged = explained(staged, {row.task_run_id: row for row in rows})
    home, draft, composition = _composed(stage, record, end, before, staged, rows, problems)
    repin(home, staged)
    home.store(composition.documents, draft.experiment)
    sealed = SealedExperiment(
        flow_run_id=stage.owner,
        image_name=draft.image_name,
        manifest_digest=composition.documents.digest,
        status=end.status,
        counts=draft.counts,
        warnings=(*draft.warnings, *composition.warnings),
        stored_name=draft.image_name if finished else checkpoint_name(draft.image_name),
        pushed=True if home.composed_in else None,
        composed_in=home.composed_in,
    )
    aliases = [with_tag(draft.image_name, tag) for tag in record.aliases] if finished else []
    keys = sorted({*staged.keys, *sealed_keys})
    cut_off = tuple(staged.cut_off_keys)
    publish(stage, home, Publication(sealed, tuple(aliases), tuple(keys), cut_off))
    if finished:
        stage.release()
    _lost.forget(stage.owner)
    forget_submitted(stage.owner)
    return sealed


def _composed(
    stage: LocalStage, record: FlowRecord, end: End, *what: Any
) -> tuple[Home, Draft, Composition]:
    """Compose an experiment for the best home that takes it."""
    *others, last = homes_for(stage, record.image_name, end.status)
    for home in others:
        draft = _draft(stage, home, record, end, *what)
        composition = compose(draft.experiment)
        if not (refusal := home.refusal(composition.documents)):
            return home, draft, composition
        warn(f"{draft.image_name} is sealed in the Local Registry instead of its own: {refusal}")
    draft = _draft(stage, last, record, end, *what)
    return last, draft, compose(draft.experiment)


@dataclass(frozen=True)
class Draft:
    """An experiment before its columns are settled."""

    image_name: str
    experiment: ExperimentRecord
    counts: Mapping[str, int]
    warnings: tuple[str, ...]


def _draft(
    stage: LocalStage,
    home: Home,
    record: FlowRecord,
    end: End,
    before: SealedExperiment | None,
    staged: Staged,
    rows: Sequence[TaskRunRow],
    problems: Sequence[str],
) -> Draft:
    checkpoints = CheckpointFiles(stage).take([*staged.keys, *staged.cut_off_keys])
    fresh = entries_of(staged, {row.task_run_id: row for row in rows}, checkpoints)
    old, attachments, annotations = _taken_apart(home, before)
    entries = with_stand_ins(joined(old, fresh), rows, staged.running)
    entries = settle(entries, staged.rolled_back)
    attachments, logged = attachments_of(staged.parts, attachments)
    name = _free_name(home, record, before)
    missing = [] if problems else _never_begun(record, entries, rows)
    warnings = (*problems, *missing, *_degradations(entries), *_name_warning(record, name))
    ledger = _ledger_of(stage, record, end, staged, entries, rows, warnings)
    experiment = ExperimentRecord(
        status=end.status,
        reason=end.reason,
        requested_image_name=None if end.status == "finished" else name,
        runs=tuple(entry.record for entry in entries),
        attachments=Attachments({**attachments.entries, **ledger}, attachments.filenames),
        annotations={**annotations, **logged, **_annotations(record, end, warnings)},
    )
    return Draft(name, experiment, count_by_status(entries), warnings)


def _taken_apart(
    home: Home, before: SealedExperiment | None
) -> tuple[list[Entry], Attachments, Mapping[str, str]]:
    """Take what was sealed before apart, so that it can be sealed again with what came later."""
    if before is None:
        return [], Attachments(), {}
    earlier = home_of_sealed(before)
    documents = earlier.read(before.manifest_digest)
    home.keep(documents)
    entries, experiment = entries_of_sealed(earlier, documents)
    kept = {k: v for k, v in experiment.attachments.entries.items() if k != _ledger.NAME}
    annotations = {k: v for k, v in experiment.annotations.items() if k not in (WARNINGS, DEGRADED)}
    return entries, Attachments(kept, experiment.attachments.filenames), annotations


def _ledger_of(
    stage: LocalStage,
    record: FlowRecord,
    end: End,
    staged: Staged,
    entries: Sequence[Entry],
    rows: Sequence[TaskRunRow],
    warnings: Sequence[str],
) -> dict[str, Descriptor]:
    flow_run = {**asdict(record), "state": end.state, "status": end.status}
    _, split = settle_columns(columns_of(entry.record for entry in entries))
    subflows = list(staged.subflows.values())
    document = _ledger.ledger_bytes(flow_run, entries, rows, subflows, split, warnings)
    return {_ledger.NAME: stage.add_blob(document, _ledger.MEDIA_TYPE)}


def _end_of(stage: LocalStage, state: State[Any] | None) -> End:
    """Return how the flow run ended: from the hook, from Prefect, or as the hook left it."""
    if state is None:
        try:
            with api_client() as client:
                state = read_flow_run(client, stage.owner).state
        except Exception as error:
            kept = stage.read(STATE_RECORD)
            if kept is None:
                reason = f"Prefect's API does not tell how it ended ({describe_error(error)})"
                raise SealError(stage.owner, reason) from error
            return End(**kept)
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
    flow_runs |= {attempt.flow_run_id for attempt in staged.cut_off} - {""}
    ended = {shard.attempt.task_run_id for shard in staged.shards}
    gone = {attempt.task_run_id for attempt in staged.cut_off} - ended - {""}
    unexplained = {attempt.task_run_id for attempt in staged.running} - {""}
    unexplained |= submitted_task_runs(record.owner) - ended - gone
    if "" in flow_runs:  # a task run outside flows: its shards tell all
        return [], []
    try:
        with api_client() as client:
            return await_task_runs(client, flow_runs, ended - {""}, unexplained, gone), []
    except Exception as error:
        return [], [f"Prefect's API could not be asked for task runs: {describe_error(error)}"]


def _never_begun(
    record: FlowRecord, entries: Sequence[Entry], rows: Sequence[TaskRunRow]
) -> list[str]:
    """Say how many submitted tasks nobody has begun; a worker that could not leaves no trace."""
    known = {entry.task_run_id for entry in entries} | {row.task_run_id for row in rows}
    missing = len(submitted_task_runs(record.owner) - known)
    said = f"{missing} task runs were submitted and never began: Prefect does not know them"
    return [said] if missing else []


def _short(name: str) -> str:
    # A name made of an argument can be a whole table.
    return textwrap.shorten(name, LONGEST_NAME, placeholder="…") or "…"


def _degradations(entries: Sequence[Entry]) -> list[str]:
    return [
        f"{_short(entry.task_run or entry.task)} (attempt {entry.attempt}): {note}"
        for entry in entries
        for note in entry.notes
    ]


def _name_warning(record: FlowRecord, name: str) -> list[str]:
    if name == record.image_name:
        return []
    return [f"{record.image_name} was taken meanwhile; this experiment stands under {name}"]


def _free_name(home: Home, record: FlowRecord, before: SealedExperiment | None) -> str:
    """Return the name to publish: never one that another flow run has taken meanwhile."""
    standing = home.find(record.image_name)
    own = before is not None and standing == before.manifest_digest
    if standing is None or own or record.replace:
        return record.image_name
    return record.other_name


def _annotations(record: FlowRecord, end: End, warnings: Sequence[str]) -> dict[str, str]:
    """Return what catalogues show of the experiment."""
    found = {
        FLOW_RUN_ANNOTATION: record.flow_run_id,
        f"{PREFIX}flow-run-name": record.flow_run,
        f"{PREFIX}flow-name": record.flow,
        f"{PREFIX}flow-run-url": url_for("flow-run", record.flow_run_id) or "",
        f"{PREFIX}deployment-id": record.deployment_id,
        f"{PREFIX}deployment-name": _deployment_name(record.deployment_id),
        f"{PREFIX}scheduled-time": record.scheduled_time,
        f"{PREFIX}state": end.state,
        f"{PREFIX}prefect-version": importlib.metadata.version("prefect"),
        f"{PREFIX}ommx-version": importlib.metadata.version("ommx"),
        f"{PREFIX}python-version": platform.python_version(),
        WARNINGS: str(len(warnings)) if warnings else "",
        DEGRADED: "; ".join(x for x in warnings if "degraded" in x)[:1000],
    }
    return {key: value for key, value in found.items() if value}


def _deployment_name(deployment_id: str) -> str:
    if not deployment_id:
        return ""
    with contextlib.suppress(Exception), api_client() as client:
        return deployment_name(client, deployment_id)
    return ""


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
