"""Find the stages of the Local Registry that hold unsealed records."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ommx_prefect._flowrun.process_record import read_flow_process
from ommx_prefect._shards.names import FlowRunId
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    INBOX,
    INTENT,
    PARTS,
    PROCESS_RECORD,
    SEALED_RECORD,
    SHARDS,
    STARTS,
    STATE_RECORD,
    UNSENT,
    FlowProcess,
    FlowRecord,
    read_flow_record,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.roots import stage_root
from ommx_prefect.exceptions import DocumentError, StageError

# What an attempt, or a call on current_experiment(), leaves in a stage until it is sealed.
RECORDS = (STARTS, SHARDS, PARTS, UNSENT)
# What else tells that somebody was here.
DOCUMENTS = (FLOW_RECORD, PROCESS_RECORD, STATE_RECORD, INTENT)


@dataclass(frozen=True)
class Unsealed:
    """A stage that holds what no seal has taken, or whose flow run was never sealed.

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
    def owner(self) -> str:
        """Prefect's id of the flow run; of the task run outside flows."""
        return self.stage.owner

    @property
    def name(self) -> str:
        """The name that people know it by."""
        if self.record is not None:
            return self.record.flow_run
        return next((x.task_run for x in self._attempts if x.task_run_id == self.owner), "")

    @property
    def _attempts(self) -> list[Attempt]:
        return [*(shard.attempt for shard in self.shards), *self.open_attempts]

    @property
    def lone_attempt(self) -> Attempt | None:
        """The last attempt of a task run outside flows, if this is one."""
        lone = [x for x in self._attempts if x.task_run_id == self.owner and not x.flow_run_id]
        return max(lone, key=lambda attempt: attempt.order, default=None)

    @property
    def has_records(self) -> bool:
        """Tell whether something waits, besides the flow run as such."""
        return has_unsealed(self.stage.path)


def unsealed_flow_runs(*, unended: bool = False) -> list[str]:
    """Return the ids of flow runs, and of lone task runs, that wait to be sealed.

    It is cheap, for there can be thousands.

    Args:
        unended: Also those that were sealed before Prefect called their flow run ended.
    """
    try:
        folders = [Path(entry.path) for entry in os.scandir(stage_root()) if entry.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StageError(LOCAL, f"{stage_root()} cannot be read: {error.strerror}") from error
    stages = (x for x in folders if _is_stage(x.name))
    return sorted(x.name for x in stages if has_unsealed(x) or (unended and _is_unended(x)))


def _is_stage(name: str) -> bool:
    try:
        return bool(FlowRunId(name))
    except DocumentError:  # somebody else's folder
        return False


def read_unsealed(root_flow_run_id: str) -> Unsealed | None:
    """Read what waits in a stage, or None where it is a subflow's, which its parent seals.

    Raises:
        DocumentError: A shard of it is damaged.
    """
    stage = LocalStage(root_flow_run_id)
    record = read_flow_record(stage)
    if record is not None and record.owner != root_flow_run_id:
        return None
    starts = stage.starts()  # before the shards: what ends meanwhile is not open
    shards = stage.shards()
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


def has_unsealed(folder: Path) -> bool:
    """Tell whether the directory of a stage holds what no seal has taken."""
    if (folder / INTENT).exists():
        return True
    if any(any(_names(x / kind)) for x in (folder, folder / INBOX) for kind in RECORDS):
        return True
    if (folder / SEALED_RECORD).exists():
        return False
    return any((x / FLOW_RECORD).exists() for x in (folder, folder / INBOX)) or _is_blank(folder)


def _is_blank(folder: Path) -> bool:
    """Tell where nothing at all could be written, on a full disk: Prefect may know more."""
    return folder.is_dir() and not any(x.is_file() for x in folder.rglob("*") if x.name[0] != ".")


def _is_unended(folder: Path) -> bool:
    return (folder / SEALED_RECORD).exists() and not (folder / STATE_RECORD).exists()


def _names(folder: Path) -> Iterator[str]:
    try:
        for name in os.listdir(folder):
            if not name.startswith("."):
                yield name
    except FileNotFoundError:
        return


def _files(folder: Path) -> list[Path]:
    files = [folder / name for name in DOCUMENTS]
    places = [place / record for place in (folder, folder / INBOX) for record in RECORDS]
    return files + [place / name for place in places for name in _names(place)]


def _times(paths: Iterable[Path]) -> list[float]:
    """Return when these were written; what is not there, or was sealed meanwhile, is left out."""
    found: list[float] = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            found.append(path.stat().st_mtime)
    return found
