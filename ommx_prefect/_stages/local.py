"""Where the shards of a flow run wait to be sealed: a directory beside the Local Registry.

    <registry root>/ommx-prefect/<owner>/   what `documents.KINDS` lists
        blobs/sha256/<hex>                  payload, as hard links to the registry's own files

The directory is an OCI image layout in the making. Its links keep every payload alive whatever
`ommx gc --delete` removes from the registry meanwhile, and add no name to it. Where the file
system knows no hard links, blobs are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from ommx_prefect._format.decode import manifest_of
from ommx_prefect._format.model import PARAMETERS_MEDIA_TYPE, Descriptor, Documents, describe
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._registry.files import write_whole
from ommx_prefect._registry.layout import BLOBS, INDEX_FILE, LAYOUT_FILE, blob_in
from ommx_prefect._shards.schema import fields_of, parsed, to_document
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    KINDS,
    LOCK,
    PARTS,
    SHARDS,
    STARTS,
    format_of,
)
from ommx_prefect._stages.protocol import MALFORMED, damaged
from ommx_prefect._stages.roots import DIRECTORY, root_of

T = TypeVar("T")

_START_FORMAT = KINDS[STARTS].format


class LocalStage:
    """The stage of one flow run in the Local Registry of this machine.

    Args:
        owner: Id of the flow run whose experiment is recorded; of the task run outside flows.
        path: Its directory, where it is not that of the Local Registry.
    """

    name = LOCAL

    def __init__(self, owner: str, path: Path | None = None) -> None:
        self.owner = owner
        self.path = path or root_of(owner) / DIRECTORY / owner

    def begin(self, attempt: Attempt) -> None:
        """Note that an attempt has begun."""
        write_whole(self.path / STARTS / attempt.key, start_document(attempt))

    def put(self, shard: Shard, directory: str = SHARDS) -> str | None:
        """Make a shard durable: first its payload, then the file that names it.

        Returns:
            Why it waits in another place than it should, or None.
        """
        if shard.documents is not None:
            self.pin(shard.documents)
        write_whole(self.path / directory / shard.attempt.key, shard.to_bytes(), durable=True)
        return None

    def share_checkpoint(self, checkpoint: Shard) -> str | None:
        """Take a checkpoint that was made durable here to where the seal may be.

        Returns:
            Why it is here only, or None.
        """
        return None

    def shards(self, directory: str = SHARDS) -> list[Shard]:
        """Read all shards, in order of start.

        Raises:
            DocumentError: One of them is damaged; nothing is skipped silently.
        """
        found = (_parsed(path, Shard.from_bytes) for path in self.files(directory))
        return sorted(found, key=lambda shard: shard.attempt.order)

    def starts(self) -> list[Attempt]:
        """Read the start records, in order of start; DocumentError as for shards."""
        # Not worth a flush to the disk each: after a power failure one may be empty.
        found = (_start(path) for path in self.files(STARTS))
        return sorted((x for x in found if x is not None), key=lambda attempt: attempt.order)

    def read(self, name: str) -> dict[str, Any] | None:
        """Read the fields of one of the stage's JSON documents, or return None.

        Raises:
            DocumentError: It is damaged.
            UnknownFormatError: A later release wrote it.
        """
        try:
            return _parsed(self.path / name, lambda data: fields_of(data, format_of(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write one of the stage's JSON documents, whole or not at all."""
        write_whole(self.path / name, to_document(document, format_of(name)), durable=True)

    def has(self, *names: str) -> bool:
        """Tell whether all of these documents are there."""
        return all((self.path / name).exists() for name in names)

    def remove(self, name: str) -> None:
        """Remove one of the stage's documents, where it is there."""
        with contextlib.suppress(OSError):
            (self.path / name).unlink()

    def listed(self, directory: str) -> dict[str, dict[str, Any]]:
        """Read a directory of JSON documents by name."""
        with contextlib.suppress(FileNotFoundError):
            names = sorted(os.listdir(self.path / directory))
            return {n: self.read(f"{directory}/{n}") or {} for n in names if n[0] != "."}
        return {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the stage against every other process that seals it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / LOCK):
            yield

    def exists(self) -> bool:
        """Tell whether a flow run has left anything here."""
        return self.path.is_dir()

    def collect(self, sealed: Collection[str]) -> None:
        """Bring what waits elsewhere, and is not sealed yet, here before a seal."""

    def serves(self, image_name: str) -> bool:
        """Tell that the Local Registry is no registry of image names."""
        return False

    def is_released(self) -> bool:
        """Tell whether a finished seal of another host has let go of what waited elsewhere."""
        return False

    def release(self) -> None:
        """Let go of what waits elsewhere, once a finished seal holds it."""

    def discard(self, keys: Iterable[str]) -> None:
        """Let go of shards that a verified seal holds; what came later stays."""
        for key in keys:
            for directory in (SHARDS, PARTS, STARTS):
                (self.path / directory / key).unlink(missing_ok=True)
            shutil.rmtree(self.path / CHECKPOINTS / key, ignore_errors=True)
        for name in (INDEX_FILE, LAYOUT_FILE):
            (self.path / name).unlink(missing_ok=True)
        # An attempt that runs may have linked its payload, and not yet written its shard.
        if not any(self.files(x) for x in (SHARDS, PARTS, STARTS)):
            shutil.rmtree(self.path / BLOBS, ignore_errors=True)

    def discard_starts(self, keys: Iterable[str]) -> None:
        """Let go of start records; a shard that comes after all stays."""
        for key in keys:
            (self.path / STARTS / key).unlink(missing_ok=True)

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a payload blob of our own."""
        descriptor = describe(media_type, data)
        write_whole(self.pinned(descriptor.digest), data)
        return descriptor

    def files(self, directory: str) -> list[Path]:
        """Return the files of a folder that are written whole."""
        with contextlib.suppress(FileNotFoundError):
            folder = self.path / directory
            return [folder / name for name in os.listdir(folder) if name[0] != "."]
        return []

    def pin(self, *documents: Documents) -> None:
        """Keep the payload of Experiments within reach of the seal."""
        for each in documents:
            for layer in manifest_of(each.manifest)["layers"]:
                if layer["mediaType"] != PARAMETERS_MEDIA_TYPE:
                    self.pin_blob(layer["digest"])

    def pin_blob(self, digest: str) -> None:
        """Keep one payload within reach of the seal; FileNotFoundError where it is not here."""
        link_or_copy(blob_path(digest), self.pinned(digest))

    def pinned(self, digest: str) -> Path:
        """Return where the stage keeps a payload."""
        return blob_in(self.path, digest)

    def bring(self, digest: str) -> Path:
        """Return a file with a payload: the stage's own, or the Local Registry's."""
        pinned = self.pinned(digest)
        return pinned if pinned.exists() else blob_path(digest)


def start_document(attempt: Attempt) -> bytes:
    """Write the record of an attempt that has begun."""
    return to_document(vars(attempt), _START_FORMAT)


def read_start(data: bytes) -> Attempt:
    """Read the record of an attempt that has begun."""
    return parsed(Attempt, fields_of(data, _START_FORMAT))


def _start(path: Path) -> Attempt | None:
    with contextlib.suppress(FileNotFoundError):  # its attempt was sealed meanwhile
        if path.stat().st_size:
            return _parsed(path, read_start)
    return None


def _parsed(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(path.read_bytes())
    except MALFORMED as error:
        raise damaged(path, error) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Put a blob where the seal looks for it, without a copy where the file system can."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except FileNotFoundError:  # the first link here, or a lost blob
        if target.exists():  # `ommx gc` took the registry's own
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(source, target)
    except OSError:  # no hard links here, or another file system
        write_whole(target, source.read_bytes())
