"""Decide how an attempt ended that began and left no shard.

What came after it tells, or Prefect's API. Prefect's state of a task run is that of the attempt
that began last. Dask and Ray execute a task whose worker died again, under the same id and from
its first attempt on; what that became tells nothing about the attempt that was lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._shards.shard import Attempt, Shard

# The state of an attempt whose task run was executed again.
SUPERSEDED = "Superseded"
# Why an attempt counts as interrupted whose record was set aside.
DAMAGED = "its record is damaged"


def followers(attempts: Iterable[Attempt]) -> dict[str, Attempt]:
    """Return, by key, the attempt of the same task run that began next."""
    latest: dict[str, Attempt] = {}
    found: dict[str, Attempt] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.order):
        if not attempt.task_run_id:  # a Run that is no task
            continue
        if before := latest.get(attempt.task_run_id):
            found[before.key] = attempt
        latest[attempt.task_run_id] = attempt
    return found


def interrupted_shard(
    attempt: Attempt,
    follower: Attempt | None,
    row: TaskRunRow | None,
    checkpoint: Shard | None,
    *,
    is_damaged: bool = False,
) -> Shard:
    """Return a shard in place of the one that an attempt did not leave.

    Args:
        attempt: Who began.
        follower: The attempt of the same task run that began next.
        row: What Prefect's API knows of the task run.
        checkpoint: What the attempt had made durable.
        is_damaged: Whether it left a record, which is damaged.
    """
    shard = _damaged(attempt, row) if is_damaged else _shard(attempt, follower, row)
    if checkpoint is None:
        return shard
    return dataclasses.replace(
        shard,
        reason=f"{shard.reason}; {checkpoint.reason}",
        notes=(*checkpoint.notes, *shard.notes),
    )


def _shard(attempt: Attempt, follower: Attempt | None, row: TaskRunRow | None) -> Shard:
    # One that began was Running, also where Prefect's API has heard no more than Pending.
    state = row.state if row and row.is_final else "Running"
    if follower is not None and _is_retry(attempt, follower):
        return _unrecorded(attempt, "failed", "Failed", "it was retried")
    if follower is not None:
        return _interrupted(attempt, SUPERSEDED, "it was executed again")
    if row and row.is_final and row.status not in (None, "interrupted"):
        return _unrecorded(attempt, row.status, state, f"Prefect's state is {state}")
    return _interrupted(attempt, state, f"Prefect's last state is {state}")


def _damaged(attempt: Attempt, row: TaskRunRow | None) -> Shard:
    """Return a shard in place of a damaged record, from its file name and Prefect's facts."""
    if row and not attempt.task:
        attempt = dataclasses.replace(
            attempt,
            task=row.task_of_recording or row.name,
            task_run=row.name,
            started_at=row.started_at,
            host=row.host,
        )
    parameters = attempt.parameters(row.state if row else "", None)
    note = f"degraded: {DAMAGED} and was set aside"
    return Shard(attempt, "interrupted", DAMAGED, parameters, (note,))


def _is_retry(attempt: Attempt, follower: Attempt) -> bool:
    """Tell whether Prefect's engine went on to the next attempt, which it does after failures."""
    process = (attempt.host, attempt.pid, attempt.process_start)
    same = process == (follower.host, follower.pid, follower.process_start)
    return same and follower.attempt > attempt.attempt


def _interrupted(attempt: Attempt, state: str, told: str) -> Shard:
    process = f"its process {attempt.pid} on {attempt.host}"
    reason = f"cut off: {process} ended before the attempt did; {told}"
    return Shard(attempt, "interrupted", reason, attempt.parameters(state, None))


def _unrecorded(attempt: Attempt, status: str, state: str, told: str) -> Shard:
    reason = f"its record is lost; {told}"
    parameters = attempt.parameters(state, None)
    return Shard(attempt, status, reason, parameters, (f"degraded: {reason}",))
