"""A stage that several hosts share: a store that all reach, and a local stage on each.

Each record is one object, named as in the directory of a local stage:

    <flow run id>/flow.json           what the seal needs to know of the flow run
    <flow run id>/starts/<key>        an attempt that began
    <flow run id>/shards/<key>        an attempt that ended
    <flow run id>/parts/<key>, ...    and whatever else `documents.KINDS` calls shared

How the place holds a shard, and where its payload is, is the store's affair. What goes out is in
`outbox`, what comes in is in `inbox`; all else is the local stage's.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from ommx_prefect._format.model import Descriptor, Documents
from ommx_prefect._registry.files import make_folder, read_regular
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.archive import payload_layers, payload_of
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.damage import set_aside_files
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    INBOX,
    PARTS,
    RELEASED,
    SHARDS,
    STARTS,
    UNSENT,
    kind_of,
)
from ommx_prefect._stages.files import entries_in
from ommx_prefect._stages.inbox import Inbox
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.outbox import Outbox
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect._stages.store import READERS, GoneError, ShardStore
from ommx_prefect.exceptions import DocumentError


class SharedStage:
    """The stage of one flow run in a place that many hosts share.

    Args:
        local: The stage of this host, in which the flow run is sealed.
        store: The place.
    """

    def __init__(self, local: LocalStage, store: ShardStore) -> None:
        self.flow_run_id, self.path, self.name = local.flow_run_id, local.path, store.name
        self._local, self._store = local, store
        self._outbox = Outbox(local, store, local.bring)
        self._inbox = Inbox(local, store, self.bring)

    # ------------------------------------------------------------ what attempts do

    def begin(self, attempt: Attempt) -> None:
        """Write the start record of an attempt."""
        self._outbox.begin(attempt)

    def put(self, shard: Shard, directory: str = SHARDS) -> str | None:
        """Store a shard durably there, or here; return the problem if it is here."""
        return self._outbox.put(shard, directory)

    def share_checkpoint(self, checkpoint: Shard) -> str | None:
        """Store the last checkpoint of an attempt there, too; return the problem, or None."""
        return self._outbox.share_checkpoint(checkpoint)

    def flush(self) -> str | None:
        """Send what could not be sent before; return the problem where it cannot be sent now."""
        return self._outbox.flush()

    # ------------------------------------------------------------ documents

    def read(self, name: str) -> dict[str, Any] | None:
        """Read a document here; the flow run's record from there where this host has none."""
        here = self._local.read(name)
        return self._inbox.flow_record() if here is None and name == FLOW_RECORD else here

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a document here, and for other hosts where they need it.

        Raises:
            StageError: The record of the flow run cannot be written: nothing has begun yet.
        """
        kind = kind_of(name)
        if kind and kind.reach == "shared":
            self._outbox.write(name, document)
        self._local.write(name, document)

    def has(self, *names: str) -> bool:
        """Tell whether all of these documents are here."""
        return self._local.has(*names)

    def is_own(self) -> bool:
        """Tell whether this host wrote the record of the flow run."""
        return self._local.is_own()

    def remove(self, name: str) -> None:
        """Remove a document, where it is here."""
        self._local.remove(name)

    def listed(self, directory: str) -> dict[str, dict[str, Any]]:
        """Read a directory of JSON documents by name, as far as they are here."""
        return self._local.listed(directory)

    def exists(self) -> bool:
        """Tell whether anything waits, here or there."""
        here = any(self._local.files(name) for name in (STARTS, SHARDS, PARTS))
        return here or self._local.read(FLOW_RECORD) is not None or bool(self._inbox.names())

    # ------------------------------------------------------------ what a seal does

    def locked(self) -> AbstractContextManager[None]:
        """Lock the stage against every other process of this host that seals it."""
        return self._local.locked()

    def collect(self, sealed: Collection[str]) -> None:
        """Copy unsealed records from there to this host, and send those that only this host has.

        Raises:
            DocumentError: An object is damaged, or no record of this flow run. It is named.
            StageError: The place does not answer.
        """
        self._store.await_answer()
        seen = self._inbox.names()
        self._inbox.take([*seen, *self._outbox.share(seen, sealed)], sealed)

    def set_aside(self) -> None:
        """Set aside what is damaged, here and there."""
        set_aside_files(self._local)
        self._inbox.set_aside()
        self._set_aside_without_payload()

    def _set_aside_without_payload(self) -> None:
        """Set aside copies of shards whose payload is lost or damaged there."""
        quarantine = Quarantine(self._local)
        for directory in (SHARDS, PARTS):
            for path in entries_in(self.path / INBOX / directory):
                try:
                    self._bring_payload_of(path)
                except (GoneError, DocumentError):
                    quarantine.move(path, f"{directory}/{path.name}")

    def _bring_payload_of(self, path: Path) -> None:
        shard = Shard.from_bytes(read_regular(path))
        for layer in payload_of(shard):
            if layer.digest not in shard.payload:
                self.bring(layer.digest, layer.size)

    def shards(self, directory: str = SHARDS) -> list[Shard]:
        """Read all shards that are here, in order of start."""
        return self._local.shards(directory)

    def each_shard(self, directory: str = SHARDS) -> Iterator[Shard]:
        """Yield the shards that are here, in any order."""
        return self._local.each_shard(directory)

    def starts(self) -> list[Attempt]:
        """Read all start records that are here, in order of start."""
        return self._local.starts()

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a payload blob of our own."""
        return self._local.add_blob(data, media_type)

    def discard(self, keys: Iterable[str]) -> None:
        """Remove shards here that a verified seal holds; later ones stay."""
        self._local.discard(keys)

    def discard_starts(self, keys: Iterable[str]) -> None:
        """Remove start records here; a shard that comes later stays."""
        self._local.discard_starts(keys)

    def release(self) -> None:
        """Remove the records there that a finished seal holds."""
        shutil.rmtree(self.path / UNSENT, ignore_errors=True)
        self._local.write(RELEASED, {})
        self._inbox.release()

    def is_released(self) -> bool:
        """Tell whether a finished seal of another host has removed the flow run's records."""
        return self._inbox.is_released()

    # ------------------------------------------------------------ payload

    def serves(self, image_name: str) -> bool:
        """Tell whether the stage is in the registry of an image name."""
        return self._store.serves(image_name)

    def pinned(self, digest: str) -> Path:
        """Return this host's file of a payload, or None."""
        return self._local.pinned(digest)

    def bring(self, digest: str, size: int | None = None) -> Path:
        """Return a file with a payload: pinned here by this flow run, or fetched from there.

        The Local Registry is not asked. It has what other flow runs recorded, and whoever writes
        to the place would only have to name its digest to be given it.

        Raises:
            StageError: It is not there, either.
        """
        pinned = self._local.pinned(digest)
        if not pinned.exists():
            make_folder(pinned.parent)
            self._fetch(digest, pinned, size)
        return pinned

    def _fetch(self, digest: str, target: Path, size: int | None) -> None:
        """Fetch a payload with its shard, or with the experiment of an earlier seal."""
        try:
            self._store.fetch(digest, target, size=size)
        except GoneError:
            image_name = str((self.read(FLOW_RECORD) or {}).get("image_name", ""))
            self._store.fetch(digest, target, image_name, size)

    def pin(self, layers: Collection[Descriptor]) -> None:
        """Make the payload of staged records available; what is not here is fetched.

        Raises:
            StageError: It is not there, either.
        """
        own = {layer.digest for shard in self._own_shards() for layer in payload_of(shard)}
        sizes = {layer.digest: layer.size for layer in layers}
        for digest in own & sizes.keys():
            self._pin(digest, sizes[digest])
        fetched = sorted(sizes.keys() - own)
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self.bring, fetched, map(sizes.__getitem__, fetched)))

    def _own_shards(self) -> Iterator[Shard]:
        """Yield what attempts on this host left here, because the place was away."""
        yield from unwritten.of(self.flow_run_id)
        for directory in (SHARDS, PARTS):
            for path in self._local.files(directory):
                yield Shard.from_bytes(read_regular(path))

    def pin_sealed(self, documents: Documents) -> None:
        """Make the payload of an experiment that this host sealed available."""
        for layer in payload_layers(documents):
            self._pin(layer.digest, layer.size)

    def _pin(self, digest: str, size: int) -> None:
        try:
            self._local.pin_blob(digest)
        except FileNotFoundError:
            self.bring(digest, size)
