"""The unsealed records of a flow run, as they were read from its stage."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ommx_prefect._format.model import Scalar
from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._shards import columns
from ommx_prefect._shards.shard import Attempt, Shard


@dataclasses.dataclass(frozen=True)
class Staged:
    """The unsealed records of a flow run.

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
        """The names of records that are final: of all shards and parts."""
        whole = (shard.attempt.key for shard in (*self.shards, *self.parts))
        return sorted({*(entry.key for entry in self.ended), *whole})

    @property
    def interrupted_keys(self) -> list[str]:
        """The names of attempts whose shards may come after all: from another host, say."""
        return sorted({attempt.key for attempt in self.interrupted})

    @property
    def composed(self) -> Staged:
        """What is staged without its records, once an experiment is composed of them."""
        return dataclasses.replace(self, ended=(), shards=(), witnesses=(), parts=())

    @property
    def all_ended(self) -> Iterator[Entry | Attempt]:
        """The facts of all attempts that ended."""
        return itertools.chain(self.ended, (shard.attempt for shard in self.shards))

    def last_end(self, default: float) -> float:
        """Return when the last of them ended, in seconds since the epoch."""
        runs = (entry.started_at + _lasted(entry.record.parameters) for entry in self.ended)
        return max((*runs, *(shard.ended_at for shard in self.shards)), default=default)


def _lasted(parameters: Mapping[str, Scalar]) -> float:
    seconds = parameters.get(columns.DURATION)
    return seconds if isinstance(seconds, (int, float)) else 0.0


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
