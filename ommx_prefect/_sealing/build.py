"""What the experiment of a flow run holds: its Runs, its ledger, its annotations, and its name."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from prefect.utilities.urls import url_for

from ommx_prefect._flowrun.pending import expected_task_runs
from ommx_prefect._format.compose import settle_columns
from ommx_prefect._format.encode import columns_of
from ommx_prefect._format.model import Attachments, Descriptor, ExperimentRecord
from ommx_prefect._oci.image_name import with_tag
from ommx_prefect._prefect.api import TaskRunRow, api_client, deployment_name
from ommx_prefect._registry.names import checkpoint_name
from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._sealing.previous import annotations_of
from ommx_prefect._sealing.result import FLOW_RUN_ANNOTATION, SealedExperiment, target_of_sealed
from ommx_prefect._sealing.staged import (
    Staged,
    attachments_of,
    count_by_status,
    entries_of,
    entries_of_sealed,
    joined,
    settle,
)
from ommx_prefect._sealing.unrecorded import with_stand_ins
from ommx_prefect._stages.checkpoints import CheckpointFiles, number_of
from ommx_prefect._stages.documents import End, FlowRecord
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.protocol import Target

# Of a task run, in a warning.
LONGEST_NAME = 80
PREFIX = "org.ommx-prefect."
DEGRADED = f"{PREFIX}degraded"
SCHEDULED = f"{PREFIX}scheduled-time"
WARNINGS = f"{PREFIX}warnings"


@dataclass(frozen=True)
class Draft:
    """An experiment before its columns are settled.

    `cut_off` has the attempts that it holds without a shard, each with the number of the last
    checkpoint that it holds of it, or 0.
    """

    image_name: str
    experiment: ExperimentRecord
    counts: Mapping[str, int]
    warnings: tuple[str, ...]
    cut_off: Mapping[str, int]


def drafted(
    stage: Stage,
    target: Target,
    record: FlowRecord,
    end: End,
    before: SealedExperiment | None,
    staged: Staged,
    rows: Sequence[TaskRunRow],
    problems: Sequence[str],
) -> Draft:
    """Put an experiment together.

    Args:
        stage: Where its shards are.
        target: Where it is to stand.
        record: What is known of the flow run.
        end: How the flow run ended.
        before: What was sealed of it before.
        staged: What came since.
        rows: What Prefect's API knows of its task runs.
        problems: What could not be asked.
    """
    checkpoints = CheckpointFiles(stage).take([*staged.keys, *staged.cut_off_keys])
    fresh = entries_of(staged, {row.task_run_id: row for row in rows}, checkpoints)
    old, attachments, annotations = _taken_apart(target, before)
    entries = with_stand_ins(joined(old, fresh, checkpoints), rows, staged.running)
    entries = settle(entries, staged.rolled_back)
    attachments, logged = attachments_of(staged.parts, attachments)
    name = free_name(target, record, end, before)
    missing = [] if problems else _unaccounted_for(record, entries, rows)
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
    numbers = {key: number_of(checkpoint) for key, checkpoint in checkpoints.items()}
    cut_off = {key: numbers.get(key, 0) for key in staged.cut_off_keys}
    return Draft(name, experiment, count_by_status(entries), warnings, cut_off)


def _taken_apart(
    target: Target, before: SealedExperiment | None
) -> tuple[list[Entry], Attachments, Mapping[str, str]]:
    """Take what was sealed before apart, so that it can be sealed again with what came later."""
    if before is None:
        return [], Attachments(), {}
    earlier = target_of_sealed(before)
    documents = earlier.read(before.manifest_digest)
    target.keep(documents)
    entries, experiment = entries_of_sealed(earlier, documents)
    kept = {k: v for k, v in experiment.attachments.entries.items() if k != ledger.NAME}
    annotations = {k: v for k, v in experiment.annotations.items() if k not in (WARNINGS, DEGRADED)}
    return entries, Attachments(kept, experiment.attachments.filenames), annotations


def _ledger_of(
    stage: Stage,
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
    document = ledger.ledger_bytes(flow_run, entries, rows, subflows, split, warnings)
    return {ledger.NAME: stage.add_blob(document, ledger.MEDIA_TYPE)}


def _unaccounted_for(
    record: FlowRecord, entries: Sequence[Entry], rows: Sequence[TaskRunRow]
) -> list[str]:
    """Say how many task runs nobody knows: a worker that could not begin one leaves no trace."""
    known = {entry.task_run_id for entry in entries} | {row.task_run_id for row in rows}
    missing = len(expected_task_runs(record.owner) - known)
    said = f"{missing} task runs left no record, and Prefect does not know them: they never began"
    return [f"{said}, or what they recorded is lost"] if missing else []


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


def free_name(target: Target, record: FlowRecord, end: End, before: SealedExperiment | None) -> str:
    """Return the name to publish: never one that another flow run has taken meanwhile.

    Nor does the checkpoint of one flow run take the place of another's, which has no other name.
    """
    name = record.image_name
    replaces = record.replace and not _is_finished(before)
    if not _is_free(target, name, record, replaces=replaces):
        return record.other_name
    if end.status != "finished" and not _is_free(target, checkpoint_name(name), record):
        return record.other_name
    return name


def aliases_to_move(
    target: Target, record: FlowRecord, before: SealedExperiment | None, name: str
) -> dict[str, str | None]:
    """Return the aliases to move, and what each points to now.

    What comes late takes none back from a later flow run.
    """
    aliases = [with_tag(name, tag) for tag in record.aliases]
    standing = {alias: target.find(alias) for alias in aliases}
    replaces = not _is_finished(before)
    return {x: standing[x] for x in aliases if _is_free(target, x, record, replaces=replaces)}


def _is_finished(before: SealedExperiment | None) -> bool:
    return before is not None and before.status == "finished"


def _is_free(target: Target, name: str, record: FlowRecord, *, replaces: bool = False) -> bool:
    """Tell whether a name may be taken; one that replaces takes it from earlier flow runs only."""
    standing = target.find(name)
    if standing is None:
        return True
    annotations = annotations_of(target, standing)
    if annotations.get(FLOW_RUN_ANNOTATION) == record.flow_run_id:
        return True
    return replaces and not _is_later(annotations.get(SCHEDULED, ""), record.scheduled_time)


def _is_later(time: str, than: str) -> bool:
    try:
        return datetime.fromisoformat(time) > datetime.fromisoformat(than)
    except (ValueError, TypeError):  # no experiment of a flow run
        return False


def _annotations(record: FlowRecord, end: End, warnings: Sequence[str]) -> dict[str, str]:
    """Return what catalogues show of the experiment."""
    found = {
        FLOW_RUN_ANNOTATION: record.flow_run_id,
        f"{PREFIX}flow-run-name": record.flow_run,
        f"{PREFIX}flow-name": record.flow,
        f"{PREFIX}flow-run-url": url_for("flow-run", record.flow_run_id) or "",
        f"{PREFIX}deployment-id": record.deployment_id,
        f"{PREFIX}deployment-name": _deployment_name(record.deployment_id),
        SCHEDULED: record.scheduled_time,
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
