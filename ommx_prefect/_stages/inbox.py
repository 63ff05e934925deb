"""Copy records from a shared stage to the host that seals, and delete them there afterwards.

Each object is believed only as far as it is a record of this flow run that hosts share, of a kind
that `documents.KINDS` lists, and parses as what the kind holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._prefect.log import warn
from ommx_prefect._registry.blobs import read_checked
from ommx_prefect._registry.files import write_whole
from ommx_prefect._shards.archive import check_experiment, payload_of
from ommx_prefect._shards.names import RecordKey
from ommx_prefect._shards.schema import fields_of, parsed
from ommx_prefect._stages.checkpoints import CheckpointFiles, check_checkpoint, number_of
from ommx_prefect._stages.damage import damage_error, is_damage
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    FLOW_RECORD,
    INBOX,
    INBOX_RECORD,
    KINDS,
    PARTS,
    RELEASED,
    ROLLED_BACK,
    SHARDS,
    STARTS,
    SUBFLOWS,
    FlowRecord,
    PlaceRecord,
    object_name,
    path_in,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import MALFORMED, without_frames
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect._stages.start_record import read_start
from ommx_prefect._stages.store import GROUPS, READERS, GoneError, ShardStore
from ommx_prefect.exceptions import DocumentError, StageError, UnknownFormatError

# How far the clocks of hosts, and a schedule that is run early, may be ahead.
CLOCKS_DIFFER = timedelta(days=1)


class Inbox:
    """The records of one flow run in a shared place, and their copies in the local stage.

    Args:
        local: The stage of this host, into which it is brought.
        store: The place.
        bring: Returns a file with the payload of a digest, fetched if need be.
    """

    def __init__(
        self, local: LocalStage, store: ShardStore, bring: Callable[[str, int], Path]
    ) -> None:
        self._local, self._store, self._bring_payload = local, store, bring
        self._prefix = f"{local.flow_run_id}/"
        self._folder = local.path / INBOX
        self._seen: list[str] = []
        self._ended: set[str] = set()
        self._quarantine, self._sets_aside = Quarantine(local), False
        # By name: the digests of checkpoints that were brought here; what cannot be kept here.
        self._brought: dict[str, str] = {}
        self._unkept: set[str] = set()

    # ------------------------------------------------------------ what comes in

    def names(self) -> list[str]:
        """Return the names of all objects of the flow run that are there."""
        return self._store.names(self._prefix)

    def flow_record(self) -> dict[str, Any] | None:
        """Return the fields of the flow run's record there, or None."""
        name = f"{self._prefix}{FLOW_RECORD}"
        if name not in self.names():
            return None
        data = b""
        try:
            with self._refusing(name):
                return self._checked_document("", FLOW_RECORD, data := self._store.read(name))
        except (DocumentError, GoneError):
            if self._quarantine.holds(FLOW_RECORD, data or self._raw(name)):
                return None
            raise

    def take(self, seen: Sequence[str], sealed: Collection[str]) -> None:
        """Copy the records that are there, and not sealed yet, into the local stage.

        Args:
            seen: The names of all objects that are there.
            sealed: The keys of what is sealed already.

        Raises:
            DocumentError: An object is damaged, or no record of this flow run. It is named.
            StageError: The place does not answer.
        """
        self._seen = list(seen)
        if seen and not (self._local.is_own() or self._local.has(INBOX_RECORD)):
            write_document(self._local, INBOX_RECORD, PlaceRecord(self._store.name))
        self._ended = {name for name in seen if f"/{SHARDS}/" in name}
        ended = {name.replace(f"/{SHARDS}/", f"/{STARTS}/") for name in self._ended}
        wanted = [
            name
            for name in seen
            if self._may_be_new(name)
            and name.rpartition("/")[2] not in sealed
            and name not in ended
        ]
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda name: self._refused(name, is_extended=bool(sealed)), wanted)
            refused = [each for each in found if each is not None]
        stops = {own: x for own, _, x in refused if not (self._sets_aside and is_damage(x))}
        if stops:
            refused.clear()  # its traceback keeps this frame, and with it all their bytes
            raise damage_error(self._local.flow_run_id, stops)
        for name, data, _ in refused:
            self._quarantine.keep(name, data)

    def set_aside(self) -> None:
        """Copy the records that are there, and set aside damaged or foreign objects."""
        self._sets_aside = True
        try:
            self.take(self.names(), ())
        finally:
            self._sets_aside = False

    def _may_be_new(self, name: str) -> bool:
        if f"/{CHECKPOINTS}/" in name:  # there may be a later one
            return True
        own = name.removeprefix(self._prefix)
        try:
            object_name(self._local.flow_run_id, own)
        except DocumentError:  # it is refused by name when it is brought
            return True
        return not (self._local.has(own) or path_in(self._folder, own).exists())

    def _refused(self, name: str, *, is_extended: bool) -> tuple[str, bytes, DocumentError] | None:
        """Copy an object; return its name, its bytes, and the reason if it is refused."""
        own = name.removeprefix(self._prefix)
        data: list[bytes] = []
        try:
            with self._refusing(name):
                self._bring(name, own, data)
        except GoneError as error:
            if self._sets_aside:
                return own, b"".join(data), DocumentError(f"something of it is gone: {error}")
            # A seal that was cut off while it removed what it holds, or one that was set aside.
            if not (is_extended or self._quarantine.holds(own, b"".join(data))):
                raise
        except DocumentError as error:
            refusal = without_frames(error)  # they hold what was read
            found = b"".join(data) or self._raw(name)
            return None if self._quarantine.holds(own, found) else (own, found, refusal)
        return None

    def _raw(self, name: str) -> bytes:
        """Return a refused object as it is stored; nothing where it cannot be read, and stays."""
        with contextlib.suppress(StageError, DocumentError):
            return self._store.raw(name)
        self._unkept.add(name)
        return b""

    def _bring(self, name: str, own: str, read: list[bytes]) -> None:
        directory, _, key = own.rpartition("/")
        if directory not in _KEEP:
            raise DocumentError("it is none of a stage's records")
        RecordKey(key)
        data = self._store.read(name)
        read.append(data)
        if self._quarantine.holds(own, data):  # its payload is damaged, perhaps
            return
        if directory == CHECKPOINTS:
            self._brought[name] = sha256_digest(data)
        _KEEP[directory](self, directory, key, data)

    @contextlib.contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (*MALFORMED, OverflowError, RecursionError) as error:
            kind = UnknownFormatError if isinstance(error, UnknownFormatError) else DocumentError
            raise kind(
                f"{name} in stage {self._store.name!r} is refused: {str(error)[:1000]}. Remove the "
                "object, or put the right one in its place"
            ) from error

    def _keep_shard(self, directory: str, key: str, data: bytes) -> None:
        shard, blobs = self._store.unpack(data, self._local.flow_run_id, key)
        check_experiment(shard, is_attempt=directory == SHARDS)
        for digest, content in blobs.items():
            write_whole(self._local.pinned(f"sha256:{digest}"), content, durable=True)
        self._write(f"{directory}/{key}", shard.to_bytes())

    def _keep_checkpoint(self, directory: str, key: str, data: bytes) -> None:
        checkpoint, blobs = self._store.unpack(data, self._local.flow_run_id, key)
        check_experiment(checkpoint, is_attempt=True)
        check_checkpoint(checkpoint)
        came = {f"sha256:{x}": data for x, data in blobs.items()} | dict(checkpoint.payload)
        absent = {x.digest: x.size for x in payload_of(checkpoint) if x.digest not in came}
        came |= {x: read_checked(self._bring_payload(x, size), x) for x, size in absent.items()}
        files = CheckpointFiles(self._local, INBOX)
        here = files.record(checkpoint.attempt.key)
        if here is None or number_of(here) < number_of(checkpoint):
            files.put(checkpoint.bare, came)

    def _keep_start(self, directory: str, key: str, data: bytes) -> None:
        read_start(data, self._local.flow_run_id, key)
        self._write(f"{directory}/{key}", data)

    def _keep_group(self, directory: str, key: str, data: bytes) -> None:
        """Refuse what only a store reads, and lists by name where it could not."""
        raise DocumentError("it is no group of records that its store could read")

    def _keep_document(self, directory: str, key: str, data: bytes) -> None:
        self._checked_document(directory, key, data)
        self._write(f"{directory}/{key}".lstrip("/"), data)

    def _write(self, name: str, data: bytes) -> None:
        """Write a copy into the inbox: no name from elsewhere becomes a path outside it."""
        write_whole(path_in(self._folder, name), data, durable=True)

    def _checked_document(self, directory: str, key: str, data: bytes) -> dict[str, Any]:
        kind = KINDS.get(directory or key)
        if kind is None or kind.reach != "shared" or kind.schema is None:
            raise DocumentError("it is none of a stage's records")
        name = object_name(self._local.flow_run_id, f"{directory}/{key}".lstrip("/"))
        fields = fields_of(data, kind.format, name, shared=True)
        document: object = parsed(kind.schema, fields)
        if isinstance(document, FlowRecord):
            self._check_record(document, directory, key)
        return fields

    def _check_record(self, record: FlowRecord, directory: str, key: str) -> None:
        """Raise DocumentError unless a record agrees with its name, and is not from the future."""
        if record.flow_run_id != (key if directory else self._local.flow_run_id):
            raise DocumentError(f"it belongs to flow run {record.flow_run_id}")
        if (root := record.root_flow_run_id) not in {record.flow_run_id, self._local.flow_run_id}:
            raise DocumentError(f"it belongs to the experiment of flow run {root}")
        if not (directory or record.image_name):
            raise DocumentError("it has no image_name")
        if _is_to_come(record.scheduled_time):
            raise DocumentError(f"its scheduled_time {record.scheduled_time} is to come")

    def is_released(self) -> bool:
        """Tell whether a finished seal of another host has removed the flow run's records."""
        return f"{self._prefix}{FLOW_RECORD}" not in self._seen and not self._local.has(RELEASED)

    def release(self) -> None:
        """Remove the records there that a finished seal holds; later ones stay.

        An attempt that was taken for dead may run on, and have replaced its checkpoint.
        """
        with ThreadPoolExecutor(READERS) as pool:
            is_held = list(pool.map(self._is_held, self._seen))
        try:
            held = [x for x, is_it in zip(self._seen, is_held, strict=True) if is_it]
            self._store.remove_all(held)
        except (StageError, DocumentError) as error:  # DocumentError: one that is damaged there
            warn(f"The experiment is sealed; {error}. What is left there is in it already")

    def _is_held(self, name: str) -> bool:
        """Tell whether an object is unchanged since it was copied here."""
        ended = name.replace(f"/{CHECKPOINTS}/", f"/{SHARDS}/")
        if name not in self._brought or ended in self._ended:
            return name not in self._unkept  # no checkpoint, or the last one of its attempt
        with contextlib.suppress(StageError, DocumentError):
            return self._brought[name] == sha256_digest(self._store.read(name))
        return False


def _is_to_come(time: str) -> bool:
    """Tell whether a time is in the future: later flow runs take names from earlier ones."""
    try:
        ahead = datetime.fromisoformat(time) - datetime.now(timezone.utc)
    except (ValueError, TypeError) as error:
        raise DocumentError(f"its scheduled_time is no time: {error}") from error
    return ahead > CLOCKS_DIFFER


# Folder of an object -> what checks it and keeps it here.
_KEEP: dict[str, Callable[[Inbox, str, str, bytes], None]] = {
    "": Inbox._keep_document,
    STARTS: Inbox._keep_start,
    SHARDS: Inbox._keep_shard,
    PARTS: Inbox._keep_shard,
    CHECKPOINTS: Inbox._keep_checkpoint,
    SUBFLOWS: Inbox._keep_document,
    ROLLED_BACK: Inbox._keep_document,
    GROUPS: Inbox._keep_group,
}
