"""Send records to a shared stage; while it is unreachable, keep them on this host.

What cannot be written there is written into the local stage of this host, its outbox. It goes out
with the next record that can, or by `ommx-prefect recover` on this host; a seal here takes it from
there, too. On a host that has no record of the flow run, `outbox.json` names the place.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import Timeout

from ommx_prefect._prefect.log import warn
from ommx_prefect._registry.files import read_regular, write_whole
from ommx_prefect._shards.schema import to_document
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    FLOW_RECORD,
    OUTBOX_RECORD,
    PARTS,
    SHARDS,
    STARTS,
    UNSENT,
    PlaceRecord,
    format_of,
    object_name,
    path_in,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.record_files import read_shard_file
from ommx_prefect._stages.start_record import start_document
from ommx_prefect._stages.store import ShardStore
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import StageError

T = TypeVar("T")

# For so long a record that was sent waits for others on this host that write or send theirs.
OTHERS_SECONDS = 1.0


class Outbox:
    """The records that one flow run sends to a shared place.

    Args:
        local: The stage of this host.
        store: The place.
        find: Returns a file with the payload of a digest.
    """

    def __init__(self, local: LocalStage, store: ShardStore, find: Callable[[str], Path]) -> None:
        self._local, self._store, self._find = local, store, find

    # ------------------------------------------------------------ one record

    def begin(self, attempt: Attempt) -> None:
        """Send the start record of an attempt; a failure is no fault of the attempt."""
        name = f"{STARTS}/{attempt.key}"
        if self._problem_with(self._send, name, start_document(attempt)):
            self._open()
            self._local.begin(attempt)

    def put(self, shard: Shard, directory: str) -> str | None:
        """Send a shard, and what waited before; return why it waits here."""
        name = f"{directory}/{shard.attempt.key}"
        if problem := self._problem_with(self._send_shard, name, shard):
            self._keep(shard, directory, problem)
            return problem
        self._local.remove(f"{STARTS}/{shard.attempt.key}")
        if any(self._local.files(folder) for folder in (SHARDS, PARTS, UNSENT)):
            # A seal of this host takes what waits; it may last, and no task has to wait for it.
            with contextlib.suppress(Timeout):
                self.flush(OTHERS_SECONDS)
        return None

    def share_checkpoint(self, checkpoint: Shard) -> str | None:
        """Send the last checkpoint of an attempt, in place of the one before."""
        name = f"{CHECKPOINTS}/{checkpoint.attempt.key}"
        return self._problem_with(self._send_checkpoint, name, checkpoint)

    def write(self, name: str, fields: dict[str, Any]) -> None:
        """Send a document.

        Raises:
            StageError: The record of the flow run cannot be sent: nothing has begun yet.
        """
        data = to_document(fields, format_of(name), self._full(name))
        problem = self._problem_with(self._send, name, data)
        if problem and name == FLOW_RECORD:
            raise StageError(self._store.name, problem)
        if problem:
            self._open()
            write_whole(path_in(self._local.path, f"{UNSENT}/{name.replace('/', '.')}"), data)
            warn(f"{name} of flow run {self._local.flow_run_id} waits on this host: {problem}")

    def _keep(self, shard: Shard, directory: str, problem: str) -> None:
        self._open()
        with self._local.locked():
            self._local.put(shard, directory)
        warn(
            f"The record of {shard.attempt.task_run or shard.attempt.task!r} waits on "
            f"{shard.attempt.host} in {self._local.path}: {problem}. It goes out with the next "
            "record of this flow run on this host; a seal here takes it, too"
        )

    def _open(self) -> None:
        if not self._local.has(FLOW_RECORD):  # which names the stage, too
            write_document(self._local, OUTBOX_RECORD, PlaceRecord(self._store.name))

    # ------------------------------------------------------------ what waited

    def flush(self, timeout_seconds: float = -1) -> str | None:
        """Send records that could not be sent before; return the problem if any of them stay.

        A place that is away holds up all that waits; a record that is damaged only itself.

        Args:
            timeout_seconds: How long to wait for others that are at it; else until they are done.

        Raises:
            filelock.Timeout: They are not done by then.
        """
        # Meanwhile no other process pins payload, or lets go of it.
        with self._local.locked(timeout_seconds):
            try:
                problems = [*self._flush_records(), *self._flush_documents()]
            except StageError as error:
                return str(error)
            if not problems:
                self._local.discard(())
            return "; ".join(problems) or None

    def _flush_records(self) -> Iterator[str]:
        """Send the waiting records, and remove each here; yield the problems of those that stay."""
        for directory in (SHARDS, PARTS, STARTS):
            for path in self._local.files(directory):
                name = f"{directory}/{path.name}"
                if problem := self._own_problem(self._send_file, name, path):
                    yield problem
                    continue
                self._local.remove(name)
                # Its checkpoints stay for a seal here.
                self._local.remove(f"{STARTS}/{path.name}")

    def _flush_documents(self) -> Iterator[str]:
        """Send the documents that wait; yield the problems of those that stay."""
        return (problem for _, problem in self._send_unsent() if problem)

    def share(self, seen: Collection[str], sealed: Collection[str]) -> list[str]:
        """Send what only this host has, and return its names: a retry may be sealed elsewhere.

        Args:
            seen: The names that are there.
            sealed: The keys of what is sealed, and need not go anywhere.
        """
        sent, there = [], frozenset(seen)
        for directory in (SHARDS, PARTS):
            for path in self._local.files(directory):
                name = f"{directory}/{path.name}"
                if path.name in sealed or self._full(name) in there:
                    continue
                if self._problem_with(self._send_file, name, path) is None:
                    sent.append(self._full(name))
        with contextlib.suppress(StageError):  # it is away: the seal has them here, too
            for name, problem in self._send_unsent():
                if problem is None:
                    sent.append(name)
        return sent

    def _send_unsent(self) -> Iterator[tuple[str, str | None]]:
        """Send the documents that wait; yield each by its name, with its problem if it stays."""
        for path in self._local.files(UNSENT):
            name = path.name.replace(".", "/", 1)
            problem = self._own_problem(self._send_document, name, path)
            if problem is None:
                path.unlink()
            yield self._full(name), problem

    # ------------------------------------------------------------ the way there

    def _problem_with(self, send: Callable[[str, T], None], name: str, what: T) -> str | None:
        """Send an object; return the problem, or None: whatever it is, the object waits here."""
        try:
            return self._own_problem(send, name, what)
        except StageError as error:
            return str(error)

    def _own_problem(self, send: Callable[[str, T], None], name: str, what: T) -> str | None:
        """Send an object; return the problem if it is with the object, and not with the place.

        Raises:
            StageError: The place is away.
        """
        try:
            send(name, what)
        except StageError:
            raise
        except Exception as error:  # it is damaged; no memory to pack it; an error of a library's
            return f"could not send {name}: {describe_error(error)}"
        return None

    def _send(self, name: str, data: bytes) -> None:
        self._store.write(self._full(name), data)

    def _send_shard(self, name: str, shard: Shard) -> None:
        self._store.put_shard(self._full(name), shard, self._find)

    def _send_checkpoint(self, name: str, checkpoint: Shard) -> None:
        files = CheckpointFiles(self._local)
        find = functools.partial(files.payload, checkpoint.attempt.key)
        self._store.put_shard(self._full(name), checkpoint, find)

    def _send_document(self, name: str, path: Path) -> None:
        self._send(name, read_regular(path))

    def _send_file(self, name: str, path: Path) -> None:
        if name.startswith(f"{STARTS}/"):
            self._send_document(name, path)
        elif shard := read_shard_file(path, self._local.flow_run_id):
            self._send_shard(name, shard)

    def _full(self, name: str) -> str:
        return object_name(self._local.flow_run_id, name)
