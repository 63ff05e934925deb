"""Where the shards of a flow run wait to be sealed: a directory beside the Local Registry.

    <registry root>/ommx-prefect/<owner>/
        flow.json           what the seal needs to know of the flow run
        process.json        which process started it last
        state.json          how the hook was told that it ended
        starts/<key>        one small file for each attempt that began
        shards/<key>        one file for each attempt that ended, written whole or not at all
        parts/<key>         one file for each call on current_experiment()
        checkpoints/<key>   the last checkpoint of an attempt, in files of its own
        blobs/sha256/<hex>  payload blobs, as hard links to the registry's own files
        sealing.json        what a seal is publishing, while it does
        sealed.json         what has been sealed, and with which shards

The directory is an OCI image layout in the making. Its links keep every payload alive whatever
`ommx gc --delete` removes from the registry meanwhile, and add no name to it. Where the file
system knows no hard links, blobs are copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from ommx_prefect._format.decode import manifest_of
from ommx_prefect._format.model import PARAMETERS_MEDIA_TYPE, Descriptor, Documents, describe
from ommx_prefect._registry.blobs import blob_path, registry_root
from ommx_prefect._registry.files import write_whole
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import CHECKPOINTS, LOCAL
from ommx_prefect._stages.protocol import MALFORMED, damaged
from ommx_prefect.exceptions import UnknownFormatError

T = TypeVar("T")

DIRECTORY = "ommx-prefect"
# What this process was told: owner -> root of the registry in which its stage is, not this one's.
_elsewhere: dict[str, Path] = {}
MOST_TOLD = 10_000


def stage_root() -> Path:
    """Return the directory that holds the stages of all flow runs of this registry."""
    return registry_root() / DIRECTORY


def tell_root(owner: str, root: str) -> None:
    """Use the stage of a flow run where its flow has it, in a registry that is not this process's.

    OMMX fixes the registry once per process, but a worker may serve flows of several. Payload is
    written into this process's registry then, and its links are copies.
    """
    if Path(root) == registry_root() or not (Path(root) / DIRECTORY / owner).is_dir():
        return  # it is here, or out of reach
    _elsewhere[owner] = Path(root)
    while len(_elsewhere) > MOST_TOLD:
        _elsewhere.pop(next(iter(_elsewhere)), None)


def root_of(owner: str) -> Path:
    """Return the root of the registry in which the stage of a flow run is."""
    return _elsewhere.get(owner) or registry_root()


class LocalStage:
    """The stage of one flow run in the Local Registry of this machine, or a shared one.

    Args:
        owner: Id of the flow run whose experiment is recorded; of the task run outside flows.
    """

    name = LOCAL

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.path = root_of(owner) / DIRECTORY / owner

    def begin(self, attempt: Attempt) -> None:
        """Note that an attempt has begun."""
        document = json.dumps(vars(attempt)).encode()
        write_whole(self.path / "starts" / attempt.key, document)

    def put(self, shard: Shard, directory: str = "shards") -> str | None:
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

    def shards(self, directory: str = "shards") -> list[Shard]:
        """Read all shards, in order of start.

        Raises:
            DocumentError: One of them is damaged; nothing is skipped silently.
        """
        found = (_parsed(path, Shard.from_bytes) for path in self._files(directory))
        return sorted(found, key=lambda shard: shard.attempt.order)

    def starts(self) -> list[Attempt]:
        """Read the start records, in order of start; DocumentError as for shards."""
        # Not worth a flush to the disk each: after a power failure one may be empty.
        found = (_start(path) for path in self._files("starts"))
        return sorted((x for x in found if x is not None), key=lambda attempt: attempt.order)

    def read(self, name: str) -> dict[str, Any] | None:
        """Read one of the stage's JSON documents, or None.

        Raises:
            DocumentError: It is damaged.
        """
        try:
            document: dict[str, Any] = _parsed(self.path / name, json.loads)
        except FileNotFoundError:
            return None
        return document

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write one of the stage's JSON documents, whole or not at all."""
        write_whole(self.path / name, json.dumps(document).encode(), durable=True)

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
        with FileLock(self.path / ".lock"):
            yield

    def exists(self) -> bool:
        """Tell whether a flow run has left anything here."""
        return self.path.is_dir()

    def collect(self, sealed: Collection[str]) -> None:
        """Bring what waits elsewhere, and is not sealed yet, here before a seal."""

    def is_released(self) -> bool:
        """Tell whether a finished seal of another host has let go of what waited elsewhere."""
        return False

    def release(self) -> None:
        """Let go of what waits elsewhere, once a finished seal holds it."""

    def discard(self, keys: Iterable[str]) -> None:
        """Let go of shards that a verified seal holds; what came later stays."""
        for key in keys:
            for directory in ("shards", "parts", "starts"):
                (self.path / directory / key).unlink(missing_ok=True)
            shutil.rmtree(self.path / CHECKPOINTS / key, ignore_errors=True)
        for name in ("index.json", "oci-layout"):
            (self.path / name).unlink(missing_ok=True)
        # An attempt that runs may have linked its payload, and not yet written its shard.
        if not any(self._files(x) for x in ("shards", "parts", "starts")):
            shutil.rmtree(self.path / "blobs", ignore_errors=True)

    def discard_starts(self, keys: Iterable[str]) -> None:
        """Let go of start records; a shard that comes after all stays."""
        for key in keys:
            (self.path / "starts" / key).unlink(missing_ok=True)

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a payload blob of our own."""
        descriptor = describe(media_type, data)
        name = descriptor.digest.removeprefix("sha256:")
        write_whole(self.path / "blobs" / "sha256" / name, data)
        return descriptor

    def _files(self, directory: str) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            folder = self.path / directory
            return [folder / name for name in os.listdir(folder) if name[0] != "."]
        return []

    def pin(self, *documents: Documents) -> None:
        """Keep the payload of Experiments within reach of the seal."""
        for each in documents:
            for layer in manifest_of(each.manifest)["layers"]:
                if layer["mediaType"] != PARAMETERS_MEDIA_TYPE:
                    self._pin_blob(layer["digest"])

    def _pin_blob(self, digest: str) -> None:
        source = blob_path(digest)
        link_or_copy(source, self.path / "blobs" / "sha256" / source.name)


def _start(path: Path) -> Attempt | None:
    with contextlib.suppress(FileNotFoundError):  # its attempt was sealed meanwhile
        if path.stat().st_size:
            return _parsed(path, lambda data: Attempt(**json.loads(data)))
    return None


def _parsed(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(path.read_bytes())
    except MALFORMED as error:
        if isinstance(error, UnknownFormatError):
            raise
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
