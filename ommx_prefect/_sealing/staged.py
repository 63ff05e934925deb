"""Which Runs a flow run's experiment has: from what was staged, explained by Prefect's API.

What was staged is the truth. The API only names the state of attempts that began and left no
shard, and lists the task runs that never began.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

from ommx_prefect._format.compose import rejoin
from ommx_prefect._format.decode import decode
from ommx_prefect._format.merge import merged, without
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
)
from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.interrupted import SUPERSEDED, cut_off_shard, followers
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.process import whereabouts
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles, announced_in
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.local import Home

STATE_COLUMN = "prefect.state"


@dataclasses.dataclass(frozen=True)
class Staged:
    """What waits in a stage.

    Attributes:
        shards: Attempts that ended.
        cut_off: Attempts that began, left no shard, and whose process is gone.
        running: Attempts that began, left no shard, and whose process is alive.
        parts: What the flow body logged on the experiment.
        rolled_back: Ids of task runs that were rolled back later.
        subflows: Records of subflow runs, by id.
    """

    shards: Sequence[Shard]
    cut_off: Sequence[Attempt]
    running: Sequence[Attempt]
    parts: Sequence[Shard]
    rolled_back: frozenset[str]
    subflows: Mapping[str, Mapping[str, Any]]

    @property
    def keys(self) -> list[str]:
        """The names of what will not change any more: of all shards and parts."""
        return sorted({shard.attempt.key for shard in (*self.shards, *self.parts)})

    @property
    def cut_off_keys(self) -> list[str]:
        """The names of attempts whose shards may come after all: from another host, say."""
        return sorted({attempt.key for attempt in self.cut_off})


def read_stage(stage: Stage, sealed_keys: frozenset[str] = frozenset()) -> Staged:
    """Read what a stage holds beyond what is sealed already."""
    starts = [attempt for attempt in _begun(stage) if attempt.key not in sealed_keys]
    # Who is gone is asked before the shards are read: a process that ends has written its own.
    gone = {attempt.key for attempt in starts if is_gone(attempt)}
    shards = {shard.attempt.key: shard for shard in unwritten.of(stage.owner)}
    shards.update((shard.attempt.key, shard) for shard in stage.shards())
    fresh = [shard for key, shard in shards.items() if key not in sealed_keys]
    open_ones = [attempt for attempt in starts if attempt.key not in shards]
    return Staged(
        shards=sorted(fresh, key=lambda shard: shard.attempt.order),
        cut_off=[attempt for attempt in open_ones if attempt.key in gone],
        running=[attempt for attempt in open_ones if attempt.key not in gone],
        parts=[part for part in stage.shards("parts") if part.attempt.key not in sealed_keys],
        rolled_back=frozenset(stage.listed("rolled-back")),
        subflows=stage.listed("subflows"),
    )


def _begun(stage: Stage) -> list[Attempt]:
    """Return the attempts that began; one may have checkpointed and left no start record."""
    begun = {attempt.key: attempt for attempt in CheckpointFiles(stage).attempts()}
    begun.update((attempt.key, attempt) for attempt in stage.starts())
    return sorted(begun.values(), key=lambda attempt: attempt.order)


def repin(home: Home, staged: Staged) -> None:
    """Keep the payload of what is staged within reach.

    An earlier seal may have let links to it go just before its shard was written.
    """
    found = (shard.documents for shard in (*staged.shards, *staged.parts))
    home.keep(*(documents for documents in found if documents is not None))


def is_gone(attempt: Attempt) -> bool:
    """Tell whether the process of an attempt is gone; one on another host counts as gone.

    A flow run is sealed when Prefect calls it ended. An attempt that still runs here (a thread
    after a flow timeout, a background task) seals again when it ends.
    """
    return whereabouts(attempt) != "alive"


def explained(staged: Staged, rows: Mapping[str, TaskRunRow]) -> Staged:
    """Count the running attempts that Prefect calls ended among those that were cut off."""
    ended = {x.key for x in staged.running if (row := rows.get(x.task_run_id)) and row.is_final}
    return dataclasses.replace(
        staged,
        cut_off=[*staged.cut_off, *(x for x in staged.running if x.key in ended)],
        running=[x for x in staged.running if x.key not in ended],
    )


def entries_of(
    staged: Staged, rows: Mapping[str, TaskRunRow], checkpoints: Mapping[str, Shard]
) -> list[Entry]:
    """Return the Runs of what is staged, not yet numbered, with their checkpoints by key."""
    ended = (shard.attempt for shard in staged.shards)
    nexts = followers([*ended, *staged.cut_off, *staged.running])
    lost = [
        cut_off_shard(
            attempt,
            nexts.get(attempt.key),
            rows.get(attempt.task_run_id),
            checkpoints.get(attempt.key),
        )
        for attempt in staged.cut_off
    ]
    return [_entry_of(x, checkpoints.get(x.attempt.key)) for x in (*staged.shards, *lost)]


def entry_of(shard: Shard) -> Entry:
    """Return the Run of a shard that has no checkpoint."""
    return _entry_of(shard, None)


def joined(
    old: Sequence[Entry], fresh: Sequence[Entry], checkpointed: Container[str]
) -> list[Entry]:
    """Join what was sealed before and what is staged; what is staged knows better.

    An attempt that was sealed as cut off may end after all; what it had checkpointed stays, unless
    a later checkpoint of it is staged, which has the latest value of every name.
    """
    entries = {entry.key: entry for entry in old}
    for entry in fresh:
        before = entries.get(entry.key)
        is_kept = before is not None and entry.key not in checkpointed
        entries[entry.key] = _with_kept(entry, before.record) if before and is_kept else entry
    return list(entries.values())


def settle(entries: Sequence[Entry], rolled_back: frozenset[str]) -> list[Entry]:
    """Number the Runs' order, and mark what came after them: rollbacks and second executions.

    Prefect 3.9 rolls back a task that returns a failed state too, and leaves its state as it is.
    """
    ordered = sorted(entries, key=lambda entry: entry.order)
    superseded = _superseded(ordered)
    final = {entry.task_run_id: entry.key for entry in ordered if entry.key not in superseded}
    return [
        _with_state(entry, SUPERSEDED)
        if entry.key in superseded
        else _with_state(entry, "RolledBack")
        if entry.task_run_id in rolled_back
        and final[entry.task_run_id] == entry.key
        and entry.record.status == "finished"
        else entry
        for entry in ordered
    ]


def _superseded(ordered: Sequence[Entry]) -> set[str]:
    """Return the keys of Runs that belong to an execution which does not count.

    Dask and Ray execute a task whose worker died again, from its first attempt on. The execution
    that counts is the last one that ended: if the flow ends before another one does, it is cut
    off, and what the flow saw is the one before.
    """
    executions: dict[str, list[list[Entry]]] = {}
    for entry in ordered:
        if entry.task_run_id:
            of_task = executions.setdefault(entry.task_run_id, [])
            if not of_task or entry.attempt <= of_task[-1][-1].attempt:
                of_task.append([])
            of_task[-1].append(entry)
    found: set[str] = set()
    for of_task in executions.values():
        ended = [x for x in of_task if x[-1].record.status != "interrupted"]
        counts = (ended or of_task)[-1]
        found |= {entry.key for x in of_task if x is not counts for entry in x}
    return found


def entries_of_sealed(home: Home, documents: Documents) -> tuple[list[Entry], ExperimentRecord]:
    """Take an experiment that was sealed before apart again, with its ledger."""
    experiment = decode(documents)
    told = json.loads(home.read_blob(experiment.attachments.entries[ledger.NAME]))
    runs = [rejoin(run, told["split_columns"]) for run in experiment.runs]
    entries = [Entry.from_json(document, runs[document["run_id"]]) for document in told["runs"]]
    return entries, experiment


def attachments_of(
    parts: Sequence[Shard], before: Attachments
) -> tuple[Attachments, dict[str, str]]:
    """Join what the flow body logged, and its annotations.

    A flow run that is retried logs the same names again: the latest has the name, and earlier
    ones that differ are kept as `name@1`, `name@2`, ...
    """
    entries: dict[str, Descriptor] = dict(before.entries)
    filenames: dict[str, str] = dict(before.filenames)
    annotations: dict[str, str] = {}
    for part in parts:
        if part.documents is None:
            continue
        experiment = decode(part.documents)
        annotations.update(experiment.annotations)
        for name, descriptor in experiment.attachments.entries.items():
            if entries.get(name, descriptor) != descriptor:
                _move_aside(name, entries, filenames)
            entries[name] = descriptor
        filenames.update(experiment.attachments.filenames)
    return Attachments(entries, filenames), annotations


def count_by_status(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many Runs ended in which status."""
    return dict(sorted(Counter(entry.record.status for entry in entries).items()))


def _move_aside(name: str, entries: dict[str, Descriptor], filenames: dict[str, str]) -> None:
    number = 1
    while f"{name}@{number}" in entries:
        number += 1
    entries[f"{name}@{number}"] = entries[name]
    if name in filenames:
        filenames[f"{name}@{number}"] = filenames[name]


def _run_of(shard: Shard | None) -> RunRecord:
    return decode(shard.documents).runs[0] if shard and shard.documents else RunRecord("finished")


def _with_inputs(run: RunRecord, attempt: Attempt) -> RunRecord:
    """Return the Run with the attempt's arguments; what the function logged itself has the name."""
    return dataclasses.replace(run, parameters={**attempt.inputs, **run.parameters})


def _entry_of(shard: Shard, checkpoint: Shard | None) -> Entry:
    attempt = shard.attempt
    kept = _run_of(checkpoint)
    if shard.documents is not None:
        kept = without(kept, announced_in(checkpoint))
    run = merged(_with_inputs(_run_of(shard), attempt), kept)
    record = dataclasses.replace(
        run,
        status=shard.status,
        # OMMX refuses a finished Run with a reason.
        reason=None if shard.status == "finished" else shard.reason,
        parameters={**run.parameters, **shard.parameters},
    )
    return Entry(
        key=attempt.key,
        started_at=attempt.started_at,
        task_run_id=attempt.task_run_id,
        flow_run_id=attempt.flow_run_id,
        task=attempt.task,
        task_run=attempt.task_run,
        attempt=attempt.attempt,
        host=attempt.host,
        parent_task_run_id=attempt.parent_task_run_id,
        state=str(shard.parameters.get(STATE_COLUMN, "")),
        notes=shard.notes,
        record=record,
    )


def _with_kept(entry: Entry, before: RunRecord) -> Entry:
    own = {k: v for k, v in before.parameters.items() if not k.startswith("prefect.")}
    kept = dataclasses.replace(before, parameters=own)
    return dataclasses.replace(entry, record=merged(entry.record, kept))


def _with_state(entry: Entry, state: str) -> Entry:
    parameters = {**entry.record.parameters, STATE_COLUMN: state}
    record = dataclasses.replace(entry.record, parameters=parameters)
    return dataclasses.replace(entry, state=state, record=record)
