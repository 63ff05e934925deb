"""Turn the record of one attempt that ended into a Run, with what places it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping

from ommx_prefect._format.merge import merged, without
from ommx_prefect._format.model import RunRecord, Scalar
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._shards.archive import run_of
from ommx_prefect._shards.shard import STATE_COLUMN, Attempt, Shard
from ommx_prefect._stages.checkpoints import announced_in

# Columns in which many Runs have the same text.
COMMON_COLUMNS = frozenset({"prefect.task", "prefect.host", STATE_COLUMN})


def entry_of(shard: Shard, checkpoint: Shard | None = None) -> Entry:
    """Return the Run of a shard, with what its attempt had checkpointed."""
    attempt = shard.attempt
    return Entry(
        key=attempt.key,
        started_at=attempt.started_at,
        task_run_id=attempt.task_run_id,
        flow_run_id=sys.intern(attempt.flow_run_id),
        task=sys.intern(attempt.task),
        task_run=attempt.task_run,
        attempt=attempt.attempt,
        host=sys.intern(attempt.host),
        parent_task_run_id=attempt.parent_task_run_id,
        state=sys.intern(str(shard.parameters.get(STATE_COLUMN, ""))),
        notes=shard.notes,
        record=_record_of(shard, checkpoint),
    )


def _record_of(shard: Shard, checkpoint: Shard | None) -> RunRecord:
    run = run_of(shard)
    if checkpoint is not None:
        run = merged(_with_inputs(run, shard.attempt), _kept_of(shard, checkpoint))
    return RunRecord(  # each field: `dataclasses.replace` takes several times as long
        status=shard.status,
        # OMMX refuses a finished Run with a reason.
        reason=None if shard.status == "finished" else shard.reason,
        attachments=run.attachments,
        trace=run.trace,
        solves=run.solves,
        samplings=run.samplings,
        parameters=_shared({**shard.attempt.inputs, **run.parameters, **shard.parameters}),
    )


def _shared(parameters: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return parameters whose names, and the values that many Runs have, are one object for all."""
    return {
        sys.intern(name): sys.intern(value)
        if name in COMMON_COLUMNS and isinstance(value, str)
        else value
        for name, value in parameters.items()
    }


def _kept_of(shard: Shard, checkpoint: Shard) -> RunRecord:
    """Return what a checkpoint adds to the Run of its attempt."""
    kept = run_of(checkpoint)
    if shard.documents is None:
        return kept
    # The Run holds itself what was announced before its solver started.
    return without(kept, announced_in(checkpoint))


def _with_inputs(run: RunRecord, attempt: Attempt) -> RunRecord:
    """Return the Run with the attempt's arguments; what the function logged itself has the name."""
    return dataclasses.replace(run, parameters={**attempt.inputs, **run.parameters})
