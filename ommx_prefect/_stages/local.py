"""The local stage: a directory beside the Local Registry where shards wait to be sealed.

    <registry root>/ommx-prefect/<flow run id>/   what `documents.KINDS` lists, of this host
        blobs/sha256/<hex>                  payload, as hard links to the registry's own files
        inbox/                              what is shared, as it came from other hosts

The directory is an OCI image layout in the making. Its links keep every payload alive whatever
OMMX's `gc` removes from the registry meanwhile, and add no name to it. Where the file
system knows no hard links, blobs are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from ommx_prefect._format.model import Descriptor, Documents, describe, hex_of
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._registry.files import (
    PRIVATE_FILE,
    make_folder,
    write_durable,
    write_small,
    write_whole,
)
from ommx_prefect._registry.layout import (
    BLOBS,
    INDEX_FILE,
    LAYOUT_FILE,
    blob_folder,
    blob_in,
)
from ommx_prefect._shards.archive import names_only, payload_layers, payload_of
from ommx_prefect._shards.names import FlowRunId
from ommx_prefect._shards.schema import fields_of, to_document
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    FLOW_RECORD,
    INBOX,
    LOCK,
    PARTS,
    SHARDS,
    STARTS,
    file_in,
    format_of,
    kind_of,
    path_in,
)
from ommx_prefect._stages.files import (
    entries_in,
    has_content,
    is_of_size,
    link_or_copy,
    paths_in,
    remove_listed,
)
from ommx_prefect._stages.flushing import write_record
from ommx_prefect._stages.kept import bring_back
from ommx_prefect._stages.record_files import parsed_file, read_shard_file, read_start_file
from ommx_prefect._stages.roots import folder_of
from ommx_prefect._stages.start_record import start_document


class LocalStage:
    """The stage of one flow run in the Local Registry of this machine.

    Args:
        flow_run_id: Id of the flow run whose experiment is recorded; of the task run outside flows.
        path: Its directory, where it is not that of the Local Registry.
    """

    name = LOCAL

    def __init__(self, flow_run_id: str, path: Path | None = None) -> None:
        self.flow_run_id = str(FlowRunId(flow_run_id))
        self.path = path or folder_of(flow_run_id)
        self._blobs = os.fspath(blob_folder(self.path))
        bring_back(self.path)

    def begin(self, attempt: Attempt) -> None:
        """Write the start record of an attempt."""
        write_small(self._file(STARTS, attempt.key), start_document(attempt))

    def put(self, shard: Shard, directory: str = SHARDS) -> str | None:
        """Store a shard durably: first its payload, then the file that names it.

        Returns:
            Why it waits in another place than it should, or None.
        """
        path = self._file(directory, shard.attempt.key)
        if shard.documents is not None and not names_only(shard.documents, shard.payload):
            self.pin(layer for layer in payload_of(shard) if layer.digest not in shard.payload)
        write_record(path, shard.to_bytes())
        return None

    def start_in(self, path: Path | str) -> Attempt | None:
        """Read a start record from its file."""
        return read_start_file(path, self.flow_run_id)

    def share_checkpoint(self, checkpoint: Shard) -> str | None:
        """Return None: a checkpoint that is durable here need not go elsewhere."""
        return None

    def shards(self, directory: str = SHARDS) -> list[Shard]:
        """Read all shards, in order of start; payload in them becomes files of the stage.

        Raises:
            DocumentError: One of them is damaged; nothing is skipped silently.
        """
        return sorted(self.each_shard(directory), key=lambda shard: shard.attempt.order)

    def each_shard(self, directory: str = SHARDS) -> Iterator[Shard]:
        """Yield the shards one by one, in any order; otherwise as `shards`."""
        found = map(self.shard_in, self._all_files(directory).values())
        return (shard for shard in found if shard is not None)

    def bare_shards(self) -> list[Shard]:
        """Read all shards and write nothing: for callers without the lock, who need no payload."""
        found = (
            read_shard_file(path, self.flow_run_id) for path in self._all_files(SHARDS).values()
        )
        return sorted((x.bare for x in found if x), key=lambda shard: shard.attempt.order)

    def shard_in(self, path: Path | str) -> Shard | None:
        """Read a shard from its file; its payload becomes files of the stage."""
        if (shard := read_shard_file(path, self.flow_run_id)) is None:
            return None
        for digest, data in shard.payload.items():
            # A copy of it is never flushed: after a power failure one may be empty.
            if not is_of_size(pinned := f"{self._blobs}/{hex_of(digest)}", len(data)):
                write_small(pinned, data)
        return shard.bare

    def starts(self) -> list[Attempt]:
        """Read the start records that have no shard, in order; DocumentError as for shards."""
        # Not worth a flush to the disk each: after a power failure one may be empty.
        ended = {name for name, path in self._all_files(SHARDS).items() if has_content(path)}
        begun = (path for name, path in self._all_files(STARTS).items() if name not in ended)
        found = map(self.start_in, begun)
        return sorted((x for x in found if x is not None), key=lambda attempt: attempt.order)

    def read(self, name: str) -> dict[str, Any] | None:
        """Read the fields of one of the stage's JSON documents, or return None.

        Raises:
            DocumentError: It is damaged.
            UnknownFormatError: A later release wrote it.
        """
        for folder in (self.path, *self._inboxes(name)):
            with contextlib.suppress(FileNotFoundError):
                return parsed_file(path_in(folder, name), lambda _, data: self._fields(name, data))
        return None

    def _fields(self, name: str, data: bytes) -> dict[str, Any]:
        return fields_of(data, format_of(name), f"{self.flow_run_id}/{name}")

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write one of the stage's JSON documents, whole or not at all."""
        data = to_document(document, format_of(name), f"{self.flow_run_id}/{name}")
        write_durable(path_in(self.path, name), data)

    def has(self, *names: str) -> bool:
        """Tell whether this host has written all of these documents."""
        folder = str(self.path)  # each attempt asks
        return all(os.path.exists(file_in(folder, name)) for name in names)

    def is_own(self) -> bool:
        """Tell whether this host wrote the record of the flow run."""
        return self.has(FLOW_RECORD)

    def remove(self, name: str) -> None:
        """Remove one of the stage's documents, where it is there."""
        with contextlib.suppress(OSError):
            path_in(self.path, name).unlink()

    def listed(self, directory: str) -> dict[str, dict[str, Any]]:
        """Read a directory of JSON documents by name."""
        names = sorted(self._all_files(directory))
        return {name: self.read(f"{directory}/{name}") or {} for name in names}

    @contextlib.contextmanager
    def locked(self, timeout_seconds: float = -1) -> Iterator[None]:
        """Lock the stage against every other process that seals it.

        Args:
            timeout_seconds: How long to wait for it; without, until it is free.

        Raises:
            filelock.Timeout: Another one holds it.
        """
        make_folder(self.path)
        with FileLock(self.path / LOCK, mode=PRIVATE_FILE, timeout=timeout_seconds):
            bring_back(self.path, is_there=True)
            yield

    def exists(self) -> bool:
        """Tell whether a flow run has left anything here."""
        return self.path.is_dir()

    def collect(self, sealed: Collection[str]) -> None:
        """Do nothing: all records are here."""

    def serves(self, image_name: str) -> bool:
        """Return False: the Local Registry is no container registry."""
        return False

    def is_released(self) -> bool:
        """Return False: no other host seals from here."""
        return False

    def release(self) -> None:
        """Do nothing: no record is elsewhere."""

    def discard(self, keys: Iterable[str]) -> None:
        """Remove shards that a verified seal holds; later ones stay.

        What goes is what a listing of the folders shows: no name of a document becomes a path.
        """
        let_go = frozenset(keys)
        for directory in (SHARDS, PARTS, STARTS):
            self._remove_listed(directory, let_go)
        for folder in (self.path, self.path / INBOX):
            for path in entries_in(folder / CHECKPOINTS):
                if path.name in let_go:
                    shutil.rmtree(path, ignore_errors=True)
        for name in (INDEX_FILE, LAYOUT_FILE):
            (self.path / name).unlink(missing_ok=True)
        # An attempt that runs may have linked its payload, and not yet written its shard.
        if not any(self._all_files(x) for x in (SHARDS, PARTS, STARTS)):
            shutil.rmtree(self.path / BLOBS, ignore_errors=True)

    def discard_starts(self, keys: Iterable[str]) -> None:
        """Remove start records; a shard that comes later stays."""
        self._remove_listed(STARTS, frozenset(keys))

    def _remove_listed(self, directory: str, names: frozenset[str]) -> None:
        for folder in (self.path, self.path / INBOX):
            remove_listed(folder / directory, names)

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a payload blob of our own."""
        descriptor = describe(media_type, data)
        write_whole(self.pinned(descriptor.digest), data)
        return descriptor

    def files(self, directory: str) -> list[Path]:
        """Return the complete files of a folder that this host has written.

        One that is empty was not: the power failed before it was flushed.
        """
        return [path for path in entries_in(self.path / directory) if has_content(path)]

    def _all_files(self, directory: str) -> dict[str, str]:
        """Return the files of a folder by name, of other hosts too; this host's own come first."""
        return paths_in(self.path / INBOX / directory) | paths_in(self.path / directory)

    def _file(self, directory: str, key: str) -> str:
        return file_in(str(self.path), f"{directory}/{key}")

    def _inboxes(self, name: str) -> tuple[Path, ...]:
        kind = kind_of(name)
        return (self.path / INBOX,) if kind and kind.reach == "shared" else ()

    def pin(self, layers: Iterable[Descriptor]) -> None:
        """Link or copy payload into the stage, for the seal."""
        for layer in layers:
            self.pin_blob(layer.digest)

    def pin_sealed(self, documents: Documents) -> None:
        """Link or copy the payload of an earlier seal into the stage."""
        self.pin(payload_layers(documents))

    def pin_blob(self, digest: str) -> None:
        """Link or copy one payload into the stage; FileNotFoundError where it is not here."""
        pinned = f"{self._blobs}/{hex_of(digest)}"
        if not os.path.exists(pinned):  # what came inside of a record is here already
            link_or_copy(blob_path(digest), Path(pinned))

    def pinned(self, digest: str) -> Path:
        """Return the stage's own file of a payload, or None."""
        return blob_in(self.path, digest)

    def bring(self, digest: str, size: int | None = None) -> Path:
        """Return a file with a payload: the stage's own, or the Local Registry's."""
        pinned = self.pinned(digest)
        return pinned if pinned.exists() else blob_path(digest)
