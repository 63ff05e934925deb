"""Read the staged attempts of a flow run: those that ended, and those that did not.

What was staged is the truth. Prefect's API only names the state of attempts that began and left
no shard, and lists the task runs that never began.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

from ommx_prefect._format.model import Scalar
from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing.entry import entry_of
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.process import whereabouts
from ommx_prefect._shards.shard import DURATION_COLUMN, Attempt, Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import PARTS, ROLLED_BACK, SUBFLOWS
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.quarantine import Quarantine


@dataclasses.dataclass(frozen=True)
class Staged:
    """What waits in a stage.

    Attributes:
        ended: The Runs of attempts that ended: all that an experiment needs of most records, and a
            third of their size.
        shards: Attempts that ended, and have checkpointed.
        witnesses: Attempts that ended of task runs of which another attempt left no shard.
        interrupted: Attempts that began, left no shard, and whose process is gone.
        running: Attempts that began, left no shard, and whose process is alive.
        parts: What the flow body logged on the experiment.
        rolled_back: Ids of task runs that were rolled back later.
        subflows: Records of subflow runs, by id.
        aside: The names of damaged records that were set aside, `shards/<key>`.
        damaged: The keys of attempts among the interrupted whose record is damaged.
    """

    ended: Sequence[Entry]
    shards: Sequence[Shard]
    witnesses: Sequence[Attempt]
    interrupted: Sequence[Attempt]
    running: Sequence[Attempt]
    parts: Sequence[Shard]
    rolled_back: frozenset[str]
    subflows: Mapping[str, Mapping[str, Any]]
    aside: Sequence[str] = ()
    damaged: frozenset[str] = frozenset()

    @property
    def keys(self) -> list[str]:
        """The names of what will not change any more: of all shards and parts."""
        whole = (shard.attempt.key for shard in (*self.shards, *self.parts))
        return sorted({*(entry.key for entry in self.ended), *whole})

    @property
    def interrupted_keys(self) -> list[str]:
        """The names of attempts whose shards may come after all: from another host, say."""
        return sorted({attempt.key for attempt in self.interrupted})

    @property
    def composed(self) -> Staged:
        """The same without the records, of which an experiment is made already."""
        return dataclasses.replace(self, ended=(), shards=(), witnesses=(), parts=())

    @property
    def all_ended(self) -> Iterator[Entry | Attempt]:
        """What places all attempts that ended."""
        return itertools.chain(self.ended, (shard.attempt for shard in self.shards))

    def last_end(self, default: float) -> float:
        """Return when the last of them ended, in seconds since the epoch."""
        runs = (entry.started_at + _lasted(entry.record.parameters) for entry in self.ended)
        return max((*runs, *(shard.ended_at for shard in self.shards)), default=default)


def read_staged(stage: Stage, sealed_keys: frozenset[str] = frozenset()) -> Staged:
    """Read what a stage holds beyond what is sealed already."""
    starts = [attempt for attempt in _begun(stage) if attempt.key not in sealed_keys]
    # Who is gone is asked before the shards are read: a process that ends has written its own.
    gone = {attempt.key for attempt in starts if is_gone(attempt)}
    records = _Records(stage, {attempt.task_run_id for attempt in starts} - {""})
    for shard in itertools.chain(unwritten.of(stage.owner), stage.each_shard()):
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
    """The records of attempts that ended, of which as little is kept as a seal needs.

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


def _lasted(parameters: Mapping[str, Scalar]) -> float:
    seconds = parameters.get(DURATION_COLUMN)
    return seconds if isinstance(seconds, (int, float)) else 0.0


def has_more(stage: Stage, sealed_keys: frozenset[str]) -> bool:
    """Tell whether a stage holds records that are not sealed: they came while others were."""
    staged = (*stage.shards(), *stage.shards(PARTS))
    return any(shard.attempt.key not in sealed_keys for shard in staged)


def with_ended(staged: Staged, rows: Mapping[str, TaskRunRow]) -> Staged:
    """Count the running attempts that Prefect calls ended among those that were interrupted.

    Args:
        staged: What waits in the stage.
        rows: What Prefect's API knows of task runs, by id.
    """
    ended = {x.key for x in staged.running if (row := rows.get(x.task_run_id)) and row.is_final}
    return dataclasses.replace(
        staged,
        interrupted=[*staged.interrupted, *(x for x in staged.running if x.key in ended)],
        running=[x for x in staged.running if x.key not in ended],
    )


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
