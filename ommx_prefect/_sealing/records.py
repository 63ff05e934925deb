"""Read the unsealed records of a stage, and keep of each little more than its Run.

What was staged is the truth. Prefect's API only names the state of attempts that began and left
no shard, and lists the task runs that never began.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Container, Mapping

from ommx_prefect._format.merge import merged, without
from ommx_prefect._format.model import RunRecord, Scalar
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._sealing.staged import Staged
from ommx_prefect._shards import columns, unwritten
from ommx_prefect._shards.archive import run_of
from ommx_prefect._shards.process import whereabouts
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles, announced_in
from ommx_prefect._stages.documents import PARTS, ROLLED_BACK, SUBFLOWS
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.quarantine import Quarantine

# Columns in which many Runs have the same text.
COMMON_COLUMNS = frozenset({columns.TASK, columns.HOST, columns.STATE})


def read_staged(stage: Stage, sealed_keys: frozenset[str] = frozenset()) -> Staged:
    """Read the records of a stage that are not sealed yet."""
    starts = [attempt for attempt in _begun(stage) if attempt.key not in sealed_keys]
    # Who is gone is asked before the shards are read: a process that ends has written its own.
    gone = {attempt.key for attempt in starts if is_gone(attempt)}
    records = _Records(stage, {attempt.task_run_id for attempt in starts} - {""})
    for shard in itertools.chain(unwritten.of(stage.flow_run_id), stage.each_shard()):
        records.add(shard)
    ended = records.all_but(sealed_keys)
    open_ones = [attempt for attempt in starts if attempt.key not in records.keys]
    quarantine = Quarantine(stage)
    aside = {x.key: x for x in quarantine.attempts() if x.key not in records.keys}
    known = {attempt.key for attempt in open_ones}
    open_ones += [x for key, x in aside.items() if key not in known]
    gone |= aside.keys()
    return Staged(
        ended=[x for x in ended if isinstance(x, Entry)],
        shards=[x for x in ended if isinstance(x, Shard)],
        witnesses=[x for x in records.witnesses.values() if x.key not in sealed_keys],
        interrupted=[attempt for attempt in open_ones if attempt.key in gone],
        running=[attempt for attempt in open_ones if attempt.key not in gone],
        parts=[part for part in stage.shards(PARTS) if part.attempt.key not in sealed_keys],
        rolled_back=frozenset(stage.listed(ROLLED_BACK)),
        subflows=stage.listed(SUBFLOWS),
        aside=quarantine.names(),
        damaged=frozenset(aside),
    )


class _Records:
    """The records of attempts that ended, reduced to what a seal needs.

    Args:
        stage: Where they wait.
        open_task_runs: The ids of task runs of which an attempt may have left none.
    """

    def __init__(self, stage: Stage, open_task_runs: Container[str]) -> None:
        self._checkpoints = CheckpointFiles(stage)
        self._open = open_task_runs
        self._found: dict[str, Entry | Shard] = {}
        self.witnesses: dict[str, Attempt] = {}

    def add(self, shard: Shard) -> None:
        """Keep a record; the last one of an attempt counts."""
        attempt, key = shard.attempt, shard.attempt.key
        # Of one that ended no first checkpoint comes any more.
        self._found[key] = shard if self._checkpoints.has(key) else entry_of(shard)
        if attempt.task_run_id in self._open:
            self.witnesses[key] = attempt

    @property
    def keys(self) -> Container[str]:
        """The names of all of them."""
        return self._found.keys()

    def all_but(self, keys: Container[str]) -> list[Entry | Shard]:
        """Return what is kept of them, without those of some names."""
        return [each for key, each in self._found.items() if key not in keys]


def has_more(stage: Stage, sealed_keys: frozenset[str]) -> bool:
    """Tell whether a stage holds records that are not sealed: they came while others were."""
    staged = (*stage.shards(), *stage.shards(PARTS))
    return any(shard.attempt.key not in sealed_keys for shard in staged)


def is_gone(attempt: Attempt) -> bool:
    """Tell whether the process of an attempt is gone; one on another host counts as gone.

    A flow run is sealed when Prefect calls it ended. An attempt that still runs here (a thread
    after a flow timeout, a background task) seals again when it ends.
    """
    return whereabouts(attempt) != "alive"


def _begun(stage: Stage) -> list[Attempt]:
    """Return the attempts that began; one may have checkpointed and left no start record."""
    begun = {attempt.key: attempt for attempt in CheckpointFiles(stage).attempts()}
    begun.update((attempt.key, attempt) for attempt in stage.starts())
    return sorted(begun.values(), key=lambda attempt: attempt.order)


def entry_of(shard: Shard, checkpoint: Shard | None = None) -> Entry:
    """Return the Run of a shard, merged with the checkpoints of its attempt."""
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
        state=sys.intern(str(shard.parameters.get(columns.STATE, ""))),
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
