"""Turn staged records into the Runs of an experiment, and join them with those sealed before."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

from ommx_prefect._format.merge import merged
from ommx_prefect._format.model import RunRecord
from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing.interrupted import SUPERSEDED, followers, interrupted_shard
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._sealing.records import entry_of
from ommx_prefect._sealing.staged import Staged
from ommx_prefect._shards import columns
from ommx_prefect._shards.shard import Shard


def entries_of(
    staged: Staged, rows: Mapping[str, TaskRunRow], checkpoints: Mapping[str, Shard]
) -> list[Entry]:
    """Return the Runs of the staged records, not yet numbered, with their checkpoints.

    Args:
        staged: What waits in the stage.
        rows: What Prefect's API knows of task runs, by id.
        checkpoints: The last checkpoints of attempts, by key.
    """
    nexts = followers([*staged.witnesses, *staged.interrupted, *staged.running])
    interrupted = [
        interrupted_shard(
            attempt,
            nexts.get(attempt.key),
            rows.get(attempt.task_run_id),
            checkpoints.get(attempt.key),
            is_damaged=attempt.key in staged.damaged,
        )
        for attempt in staged.interrupted
    ]
    shards = (*staged.shards, *interrupted)
    others = (entry_of(shard, checkpoints.get(shard.attempt.key)) for shard in shards)
    return [*staged.ended, *others]


def merge_entries(
    old: Sequence[Entry], fresh: Sequence[Entry], checkpointed: Container[str]
) -> list[Entry]:
    """Join the Runs that were sealed before with staged ones, which replace those of the same key.

    An attempt that was sealed as interrupted may end after all; what it had checkpointed stays,
    unless a later checkpoint of it is staged, which has the latest value of every name.

    Args:
        old: The Runs that were sealed before.
        fresh: The Runs of what is staged.
        checkpointed: The keys of attempts whose checkpoint is staged.
    """
    entries = {entry.key: entry for entry in old}
    for entry in fresh:
        before = entries.get(entry.key)
        is_kept = before is not None and entry.key not in checkpointed
        entries[entry.key] = _with_kept(entry, before.record) if before and is_kept else entry
    return list(entries.values())


def _with_kept(entry: Entry, before: RunRecord) -> Entry:
    own = {k: v for k, v in before.parameters.items() if not k.startswith("prefect.")}
    kept = dataclasses.replace(before, parameters=own)
    return dataclasses.replace(entry, record=merged(entry.record, kept))


def mark_superseded(entries: Sequence[Entry], rolled_back: frozenset[str]) -> list[Entry]:
    """Order Runs by their start, and mark those that were rolled back or executed again.

    Prefect 3.9 rolls back a task that returns a failed state too, and leaves its state as it is.

    Args:
        entries: The Runs.
        rolled_back: The ids of task runs that were rolled back.
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

    The execution of a task run that counts is the last one that ended: if the flow ends before
    another one does, that is interrupted, and what the flow saw is the one before.
    """
    found: set[str] = set()
    runs = Counter(entry.task_run_id for entry in ordered)
    for executions in _executions(entry for entry in ordered if runs[entry.task_run_id] > 1):
        ended = [x for x in executions if x[-1].record.status != "interrupted"]
        counts = (ended or executions)[-1]
        found |= {entry.key for x in executions if x is not counts for entry in x}
    return found


def _executions(ordered: Iterable[Entry]) -> list[list[list[Entry]]]:
    """Return the executions of each task run, and the attempts of each execution.

    Dask and Ray execute a task whose worker died again, from its first attempt on.
    """
    executions: dict[str, list[list[Entry]]] = {}
    for entry in ordered:
        if entry.task_run_id:
            of_task = executions.setdefault(entry.task_run_id, [])
            if not of_task or entry.attempt <= of_task[-1][-1].attempt:
                of_task.append([])
            of_task[-1].append(entry)
    return list(executions.values())


def _with_state(entry: Entry, state: str) -> Entry:
    parameters = {**entry.record.parameters, columns.STATE: state}
    record = dataclasses.replace(entry.record, parameters=parameters)
    return dataclasses.replace(entry, state=state, record=record)


def count_by_status(entries: Sequence[Entry]) -> dict[str, int]:
    """Return how many Runs ended in which status."""
    return dict(sorted(Counter(entry.record.status for entry in entries).items()))
