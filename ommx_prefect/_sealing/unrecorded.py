"""Add a Run for each attempt that Prefect saw end but whose record never arrived.

A recorded attempt labels its task run, and Prefect carries the labels to its API with the state
in which the attempt ends. So a disk that took not one more byte, or a worker whose registry is
out of reach, loses payload, and never a Run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._sealing.records import entry_of
from ommx_prefect._shards.shard import Attempt, Shard

# The nonce of such an attempt: nobody knows its own.
NONCE = "unrecorded"


def with_unrecorded(
    entries: Iterable[Entry], rows: Iterable[TaskRunRow], running: Sequence[Attempt]
) -> list[Entry]:
    """Add a Run for each attempt without a record; drop it once its record has arrived."""
    known: list[Entry] = []
    unrecorded: list[Entry] = []
    for entry in entries:
        (unrecorded if entry.key.endswith(f"-{NONCE}") else known).append(entry)
    came = {(x.task_run_id, x.attempt) for x in known}
    came |= {(x.task_run_id, x.attempt) for x in running}
    ended = (row for row in rows if row.is_final and row.task_of_recording)
    missing = [row for row in ended if (row.task_run_id, row.attempt) not in came]
    unrecorded += [entry_of(_shard_of(row)) for row in missing]
    found = {(x.task_run_id, x.attempt): x for x in unrecorded}
    return [*known, *(entry for key, entry in found.items() if key not in came)]


def _shard_of(row: TaskRunRow) -> Shard:
    attempt = Attempt(
        root_flow_run_id="",
        flow_run_id=row.flow_run_id,
        flow_attempt=row.flow_attempt,
        task_run_id=row.task_run_id,
        task=row.task_of_recording,
        task_run=row.name,
        attempt=row.attempt,
        nonce=NONCE,
        started_at=row.started_at,
        host=row.host,
        pid=0,
    )
    reason = f"its record, made on {row.host}, is lost or out of reach"
    said = f"{reason}; Prefect's state is {row.state}"
    status = row.status or "interrupted"
    return Shard(attempt, status, said, attempt.parameters(row.state, None), (f"degraded: {said}",))
