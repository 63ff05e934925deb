"""Plan a seal: compose the experiment from the staged Runs, and choose where it is published.

Nothing is written here: the same inputs and the same names make the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ommx_prefect._format.compose import (
    Composition,
    SettledColumns,
    compose,
    settle_columns,
    split_warnings,
)
from ommx_prefect._format.encode import columns_of
from ommx_prefect._format.model import Attachments, ExperimentRecord, describe
from ommx_prefect._oci.names import MOST_MANIFEST_BYTES
from ommx_prefect._prefect.log import warn
from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.accumulate import earlier_of
from ommx_prefect._sealing.annotations import annotations_of
from ommx_prefect._sealing.attachments import Logged, join_parts
from ommx_prefect._sealing.degradations import warnings_of
from ommx_prefect._sealing.earlier import Earlier, joined, with_flow_run
from ommx_prefect._sealing.entries import (
    count_by_status,
    entries_of,
    mark_superseded,
    merge_entries,
)
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._sealing.lineage import ACCUMULATE
from ommx_prefect._sealing.load import SealInputs
from ommx_prefect._sealing.names import free_name, stored_name
from ommx_prefect._sealing.parts import Fitted, Part, fitted, may_fit
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.unrecorded import with_unrecorded
from ommx_prefect._shards.schema import stored
from ommx_prefect._stages.checkpoints import number_of
from ommx_prefect._targets.choose import targets_for
from ommx_prefect._targets.protocol import Target


@dataclass(frozen=True)
class SealPlan:
    """An experiment that is composed, and not yet stored.

    Attributes:
        inputs: What it is made of, without the records of attempts, which are composed already.
        target: Where it is to be published.
        composition: Its exact bytes.
        ledger: The bytes of its ledger.
        sealed: The answer of the seal, once it is published.
        earlier: What it has of the nights before.
        parts: Where it is too large for one manifest: its parts, of which `composition` is the
            index then.
        parts_document: The bytes in the index that name them.
        whole_bytes: The size that its manifest has, or would have at least, as one.
        keys: The names of the shards and parts that it holds.
        interrupted: The attempts that it holds without a shard, and the number of the last
            checkpoint of each.
    """

    inputs: SealInputs
    target: Target
    composition: Composition
    ledger: bytes
    sealed: SealedExperiment
    earlier: Earlier
    parts: Sequence[Part] = ()
    parts_document: bytes = b""
    whole_bytes: int = 0
    keys: frozenset[str] = frozenset()
    interrupted: Mapping[str, int] = field(default_factory=dict)

    def refusal(self) -> str:
        """Say why it cannot be stored in its target; empty if it can."""
        stored = self.compositions
        return next(filter(None, (self.target.refusal(x.documents) for x in stored)), "")

    @property
    def compositions(self) -> tuple[Composition, ...]:
        """All that is stored: the experiment, or its index and its parts."""
        return (self.composition, *(part.composition for part in self.parts))

    @property
    def without_ledger(self) -> SealPlan:
        """The plan without the bytes of its ledger, once that is stored."""
        return replace(self, ledger=b"")


@dataclass(frozen=True)
class Runs:
    """The Runs of an experiment, and their columns of one type each.

    Attributes:
        own: Those of the flow run that is sealed, in the order of their start.
        earlier: Those of the nights before, which come first, and what belongs to them.
        columns: The columns of all.
    """

    own: Sequence[Entry]
    earlier: Earlier
    columns: SettledColumns

    @classmethod
    def of(cls, own: Sequence[Entry], earlier: Earlier) -> Runs:
        """Join the Runs of a flow run to those of the nights before."""
        records = (entry.record for entry in (*earlier.entries, *own))
        return cls(own, earlier, settle_columns(columns_of(records)))

    @property
    def entries(self) -> Sequence[Entry]:
        """All of them, in the order of their ids."""
        return (*self.earlier.entries, *self.own)

    @property
    def split_columns(self) -> Mapping[str, str]:
        """Name of a column made for values of another type -> the parameter's name."""
        return self.columns[1]


# Why earlier Runs are left out of an image that would be too large with them: in bytes.
TOO_LARGE = (
    "with them its manifest has {:,} bytes or more, and OCI registries take {:,}; nights "
    "accumulate anew from this one on"
)
# Keys of the flow's record that most flows leave empty.
RARELY_TOLD = ("registry", "lineage")


def plan_experiment(inputs: SealInputs) -> SealPlan:
    """Compose an experiment for the best target that takes it."""
    runs = Runs.of(_own_runs(inputs), earlier_of(inputs))
    *others, last = targets_for(inputs.stage, inputs.record.image_name, inputs.end.status)
    for target in others:
        plan = _plan_for(target, inputs, runs)
        if not (refusal := plan.refusal()):
            return plan
        name = plan.sealed.image_name
        warn(f"{name} is sealed in the Local Registry instead of its own: {refusal}")
    return _plan_for(last, inputs, runs)


def _own_runs(inputs: SealInputs) -> list[Entry]:
    """Return the Runs of what was sealed before, of what is staged, and of what Prefect knows."""
    rows = {row.task_run_id: row for row in inputs.rows}
    fresh = entries_of(inputs.staged, rows, inputs.checkpoints)
    entries = merge_entries(inputs.contents.entries, fresh, inputs.checkpoints)
    entries = with_unrecorded(entries, inputs.rows, inputs.staged.running)
    entries = mark_superseded(entries, inputs.staged.rolled_back)
    is_told = inputs.record.lineage == ACCUMULATE
    return with_flow_run(entries, inputs.record.flow_run_id) if is_told else entries


def _plan_for(target: Target, inputs: SealInputs, runs: Runs) -> SealPlan:
    """Compose an experiment for a target; with earlier nights only where a registry takes it."""
    plan = _composed_for(target, inputs, runs)
    size = plan.whole_bytes
    if size <= MOST_MANIFEST_BYTES or not runs.earlier.nights:
        return plan
    without = runs.earlier.left_out(TOO_LARGE.format(size, MOST_MANIFEST_BYTES))
    return _composed_for(target, inputs, Runs.of(runs.own, without))


def _composed_for(target: Target, inputs: SealInputs, runs: Runs) -> SealPlan:
    """Compose an experiment for a target, under the name that it gets there."""
    name = free_name(target, inputs)
    logged = join_parts(inputs.staged.parts, inputs.contents.attachments, inputs.staged.subflows)
    degradations = _degradations(inputs, runs, name)
    warnings = (*degradations, *logged.warnings, *split_warnings(runs.split_columns))
    ledger_data = _ledger_of(inputs, runs, warnings)
    experiment = build_experiment(
        inputs, runs, logged, ledger_data=ledger_data, degradations=degradations, name=name
    )
    # An experiment whose layers alone are too large is not composed as one to find that out.
    whole = compose(experiment, runs.columns) if may_fit(experiment) else None
    fit = fitted(experiment, runs.columns, whole, name, inputs.record.flow_run_id)
    return SealPlan(
        inputs=inputs.composed,
        target=target,
        composition=fit.composition,
        ledger=ledger_data,
        sealed=_answer(target, inputs, runs, fit, name=name, warnings=warnings),
        earlier=runs.earlier,
        parts=fit.parts,
        parts_document=fit.document,
        whole_bytes=fit.whole_bytes,
        keys=inputs.sealed_keys.union(inputs.staged.keys),
        interrupted=_last_checkpoints(inputs),
    )


def _degradations(inputs: SealInputs, runs: Runs, name: str) -> tuple[str, ...]:
    """Say what of the experiment is lost, out of reach, or named otherwise."""
    found = warnings_of(inputs, runs.own, name)
    return (runs.earlier.note, *found) if runs.earlier.note else found


def _answer(
    target: Target,
    inputs: SealInputs,
    runs: Runs,
    fit: Fitted,
    *,
    name: str,
    warnings: tuple[str, ...],
) -> SealedExperiment:
    """Return what the seal will answer, once the experiment is published."""
    return SealedExperiment(
        flow_run_id=inputs.stage.flow_run_id,
        image_name=name,
        manifest_digest=fit.composition.documents.digest,
        status=inputs.end.status,
        counts=count_by_status(runs.own),
        warnings=warnings,
        stored_name=stored_name(inputs, name),
        pushed=True if target.target_stage else None,
        composed_in=target.target_stage,
        parts=len(fit.parts),
    )


def _last_checkpoints(inputs: SealInputs) -> dict[str, int]:
    """Return the number of the last checkpoint of each interrupted attempt; 0 without one."""
    numbers = {key: number_of(shard) for key, shard in inputs.checkpoints.items()}
    return {key: numbers.get(key, 0) for key in inputs.staged.interrupted_keys}


def build_experiment(
    inputs: SealInputs,
    runs: Runs,
    logged: Logged,
    *,
    ledger_data: bytes,
    degradations: Sequence[str],
    name: str,
) -> ExperimentRecord:
    """Put an experiment together.

    Args:
        inputs: What is sealed.
        runs: Its Runs.
        logged: What the bodies of its flows have logged on it.
        ledger_data: Its ledger.
        degradations: What of it is lost, out of reach, or named otherwise.
        name: Its name.
    """
    before, end, earlier = inputs.contents, inputs.end, runs.earlier
    attachments = joined(earlier.attachments, logged.attachments)
    entries = {**attachments.entries, ledger.NAME: describe(ledger.MEDIA_TYPE, ledger_data)}
    return ExperimentRecord(
        status=end.status,
        reason=end.reason,
        requested_image_name=None if inputs.is_finished else name,
        runs=tuple(entry.record for entry in runs.entries),
        attachments=Attachments(entries, attachments.filenames),
        annotations={
            **before.annotations,
            **logged.annotations,
            **annotations_of(inputs, degradations, earlier),
        },
        subject=earlier.subject,
    )


def _ledger_of(inputs: SealInputs, runs: Runs, warnings: Sequence[str]) -> bytes:
    """Write the ledger of an experiment."""
    end = inputs.end
    record = stored(asdict(inputs.record))
    # What few flows have is left out of the others' ledgers, which stay as they were.
    told = {name: value for name, value in record.items() if value or name not in RARELY_TOLD}
    flow_run = {**told, "state": end.state, "status": end.status}
    subflows = list(inputs.staged.subflows.values())
    return ledger.ledger_bytes(
        flow_run=flow_run,
        entries=runs.entries,
        rows=inputs.rows,
        subflows=subflows,
        split_columns=runs.split_columns,
        warnings=warnings,
        nights=runs.earlier.nights,
    )
