"""The ledger of an experiment: all task runs that Prefect knows of, and the Runs sealed.

The ledger is one JSON attachment of the experiment, named `ledger`:

    {"format": 1, "flow_run": {...}, "runs": [...], "task_runs": [...], "subflows": [...],
     "split_columns": {...}, "warnings": [...]}

`runs[i]` belongs to the Run with `run_id` i. It holds no secret, and no message of Prefect's. That
of an accumulated experiment has `nights` as well: what the ledgers of the nights before said, whose
Runs are the first in `runs`. All else there is of this night.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ommx_prefect._format.model import RunRecord
from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing.json_stream import written
from ommx_prefect._shards.schema import (
    CLOSED,
    FORMAT_KEY,
    ContentDigest,
    Count,
    Key,
    PrefectId,
    Seconds,
    Text,
    fields_of,
    parsed,
)

NAME = "ledger"
MEDIA_TYPE = "application/json"
# Release 0.1.0 wrote the first; the second has nights, and is written where there are any.
FORMAT, FORMAT_WITH_NIGHTS = 1, 2


@dataclass(frozen=True)
class RunPlace:
    """Facts of one Run in an experiment: its task run, its start, and its notes."""

    __pydantic_config__ = CLOSED

    key: Key
    started_at: Seconds
    task_run_id: Text
    flow_run_id: Text
    task: Text
    task_run: Text
    attempt: Count
    host: Text
    parent_task_run_id: Text
    state: Text
    notes: tuple[Text, ...]

    @property
    def order(self) -> tuple[float, str]:
        """Runs are numbered in order of start, ties by key."""
        return self.started_at, self.key


@dataclass(frozen=True)
class Entry(RunPlace):
    """One Run of an experiment, with the facts that the ledger has of it."""

    record: RunRecord

    def as_json(self, run_id: int) -> dict[str, Any]:
        """Return the entry as the ledger has it; the Run itself is not repeated."""
        fields = {key: value for key, value in vars(self).items() if key != "record"}
        return {"run_id": run_id, **fields, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], record: RunRecord) -> Entry:
        """Read an entry of a ledger again, with its Run."""
        fields = {key: value for key, value in document.items() if key != "run_id"}
        return cls(**vars(parsed(RunPlace, fields)), record=record)


@dataclass(frozen=True)
class EarlierNight:
    """A ledger's entry about an earlier night, whose Runs are in the same experiment.

    Attributes:
        flow_run_id: The flow run whose night it was.
        manifest_digest: The image of that night.
        first_run: The id of the first of its own Runs.
        runs: How many there are.
        flow_run: What its own ledger said, here and below.
    """

    __pydantic_config__ = CLOSED

    flow_run_id: PrefectId
    manifest_digest: ContentDigest
    first_run: Count
    runs: Count
    flow_run: Mapping[str, Any]
    task_runs: tuple[Mapping[str, Any], ...]
    subflows: tuple[Mapping[str, Any], ...]
    warnings: tuple[Text, ...]


@dataclass(frozen=True)
class Ledger:
    """A ledger that was read; parts that only people read are not parsed further."""

    __pydantic_config__ = CLOSED

    flow_run: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    task_runs: tuple[Mapping[str, Any], ...]
    subflows: tuple[Mapping[str, Any], ...]
    split_columns: Mapping[Text, Text]
    warnings: tuple[Text, ...]
    nights: tuple[EarlierNight, ...] = ()

    @property
    def first_own_run(self) -> int:
        """The id of the first Run that is of no night before."""
        return runs_of(self.nights)


def runs_of(nights: Iterable[EarlierNight]) -> int:
    """Return the number of Runs of the given nights."""
    return sum(night.runs for night in nights)


def read_ledger(data: bytes) -> Ledger:
    """Read the ledger of an experiment that was sealed before.

    Raises:
        DocumentError: It has another shape.
        UnknownFormatError: A later release wrote it.
    """
    return parsed(Ledger, fields_of(data, FORMAT_WITH_NIGHTS))


def ledger_bytes(
    *,
    flow_run: Mapping[str, Any],
    entries: Sequence[Entry],
    rows: Iterable[TaskRunRow],
    subflows: Sequence[Mapping[str, Any]],
    split_columns: Mapping[str, str],
    warnings: Sequence[str],
    nights: Sequence[EarlierNight] = (),
) -> bytes:
    """Write the ledger: the same facts give the same bytes.

    Args:
        flow_run: The record of the flow run, and how it ended.
        entries: All Runs of the experiment, in the order of their ids.
        rows: The task runs that Prefect's API knows of.
        subflows: The records of subflows whose Runs are in the experiment.
        split_columns: Name of a column made for values of another type -> the parameter's name.
        warnings: What is lost, out of reach, or named otherwise, one sentence each.
        nights: What is told of the earlier nights that the experiment holds.
    """
    document = {
        FORMAT_KEY: FORMAT_WITH_NIGHTS if nights else FORMAT,
        "flow_run": dict(flow_run),
        "runs": (entry.as_json(run_id) for run_id, entry in enumerate(entries)),
        "task_runs": task_runs(entries, rows, runs_of(nights)),
        "subflows": list(subflows),
        "split_columns": dict(split_columns),
        "warnings": list(warnings),
        **({"nights": map(vars, nights)} if nights else {}),
    }
    return written(document)


def task_runs(
    entries: Sequence[Entry], rows: Iterable[TaskRunRow], first: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield one row for each task run, with the ids of its Runs; rows without Runs come last.

    Where a task run has Runs, they tell its state: Prefect's API may be late.

    Args:
        entries: All Runs of the experiment.
        rows: What Prefect's API knows.
        first: The id of the first Run that is no earlier night's.
    """
    run_ids: dict[str, list[int]] = {}
    for run_id in range(first, len(entries)):
        if (entry := entries[run_id]).task_run_id:
            run_ids.setdefault(entry.task_run_id, []).append(run_id)
    for found in run_ids.values():
        yield _row_of(entries[found[0]], entries[found[-1]].state, found)
    others = (row for row in rows if row.task_run_id not in run_ids and not row.is_subflow)
    for other in sorted(others, key=lambda row: row.task_run_id):
        yield {
            "task_run_id": other.task_run_id,
            "flow_run_id": other.flow_run_id,
            "name": other.name,
            "state": other.state,
            "run_ids": [],
        }


def _row_of(entry: Entry, state: str, run_ids: list[int]) -> dict[str, Any]:
    return {
        "task_run_id": entry.task_run_id,
        "flow_run_id": entry.flow_run_id,
        "name": entry.task_run,
        "state": state,
        "run_ids": run_ids,
    }
