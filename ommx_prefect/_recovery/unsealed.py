"""Read the unsealed records in a stage of the Local Registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ommx_prefect._flowrun.process_record import read_flow_process
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    INBOX,
    INTENT,
    PROCESS_RECORD,
    SEALED_RECORD,
    STATE_RECORD,
    FlowProcess,
    FlowRecord,
    read_flow_record,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.unsealed import RECORDS, has_unsealed, names_in
from ommx_prefect._targets.annotations import UNKNOWN

# What else tells that somebody was here.
DOCUMENTS = (FLOW_RECORD, PROCESS_RECORD, STATE_RECORD, INTENT)


@dataclass(frozen=True)
class Unsealed:
    """A stage with unsealed records, or whose flow run was never sealed.

    Attributes:
        stage: Where it waits.
        record: What is known of the flow run; None where it never came to say.
        shards: Attempts that ended.
        open_attempts: Attempts that began and left no shard.
        process: Who started the flow run last, where that is known.
        since: When the oldest of it was written, in seconds since the epoch.
        touched: When the newest was.
        is_sealed: Whether there is an earlier seal, which this one extends.
    """

    stage: Stage
    record: FlowRecord | None
    shards: tuple[Shard, ...]
    open_attempts: tuple[Attempt, ...]
    process: FlowProcess | None
    since: float
    touched: float
    is_sealed: bool

    @property
    def flow_run_id(self) -> str:
        """Prefect's id of the flow run; of the task run outside flows."""
        return self.stage.flow_run_id

    @property
    def name(self) -> str:
        """The name that Prefect shows."""
        if self.record is not None:
            return self.record.flow_run
        return next((x.task_run for x in self._attempts if x.task_run_id == self.flow_run_id), "")

    @property
    def flow(self) -> str:
        """The name of its flow; `unknown` where it never came to say it, empty without a flow."""
        if self.record is not None:
            return self.record.flow
        return "" if self.lone_attempt else UNKNOWN

    @property
    def _attempts(self) -> list[Attempt]:
        return [*(shard.attempt for shard in self.shards), *self.open_attempts]

    @property
    def lone_attempt(self) -> Attempt | None:
        """The last attempt of a task run outside flows, if this is one."""
        lone = [
            x for x in self._attempts if x.task_run_id == self.flow_run_id and not x.flow_run_id
        ]
        return max(lone, key=lambda attempt: attempt.order, default=None)

    @property
    def has_records(self) -> bool:
        """Tell whether it has records of attempts, and not only that of the flow run."""
        return has_unsealed(self.stage.path)


def read_unsealed(flow_run_id: str) -> Unsealed | None:
    """Read an unsealed stage; None where it is a subflow's, which is sealed with its parent.

    Raises:
        DocumentError: A shard of it is damaged.
    """
    stage = LocalStage(flow_run_id)
    record = read_flow_record(stage)
    if record is not None and record.root_flow_run_id != flow_run_id:
        return None
    starts = stage.starts()  # before the shards: what ends meanwhile is not open
    shards = stage.bare_shards()  # a seal may hold the lock, and let go of payload
    ended = {shard.attempt.key for shard in shards}
    times = _times(_files(stage.path)) or _times([stage.path])
    return Unsealed(
        stage=stage,
        record=record,
        shards=tuple(shards),
        open_attempts=tuple(x for x in starts if x.key not in ended),
        process=read_flow_process(stage),
        since=min(times, default=0.0),
        touched=max(times, default=0.0),
        is_sealed=stage.has(SEALED_RECORD),
    )


def last_written(folder: Path) -> float:
    """Return when the newest record or document of a stage was written; 0 where it has none."""
    return max(_times(_files(folder)), default=0.0)


def _files(folder: Path) -> list[Path]:
    files = [folder / name for name in DOCUMENTS]
    places = [place / record for place in (folder, folder / INBOX) for record in RECORDS]
    return files + [place / name for place in places for name in names_in(place)]


def _times(paths: Iterable[Path]) -> list[float]:
    """Return when these were written; what is not there, or was sealed meanwhile, is left out."""
    found: list[float] = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found.append(path.stat().st_mtime)
    return found
