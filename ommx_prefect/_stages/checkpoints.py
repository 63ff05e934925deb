"""Store the checkpoints of attempts until the seal: one directory for each attempt.

    <stage>/checkpoints/<key>/record       a shard: the latest value of every name
    <stage>/checkpoints/<key>/blobs/<hex>  the payloads that it names, and no others

A checkpoint replaces the one before it, so ten thousand take the room of one. Payloads lie here
and not in the Local Registry: there each replaced one would stay until somebody runs OMMX's `gc`,
and OMMX's `gc` would take the one that counts. What came from other hosts lies likewise in
the stage's inbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from ommx_prefect._format.model import Documents, hex_of
from ommx_prefect._registry.blobs import blob_path, read_checked
from ommx_prefect._registry.files import read_regular, write_durable, write_whole
from ommx_prefect._registry.layout import BLOBS, blob_in
from ommx_prefect._shards.archive import check_attempt, payload_layers
from ommx_prefect._shards.names import RecordKey
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import CHECKPOINTS, INBOX
from ommx_prefect._stages.files import link_or_copy
from ommx_prefect._stages.protocol import MALFORMED, Stage, damaged, without_frames
from ommx_prefect.exceptions import DocumentError

# The file with the shard.
RECORD = "record"
# Tells which of two checkpoints of one attempt is the later.
NUMBER = "number"
# Names, as a JSON list, of what the attempt's own record holds, too, if it leaves one.
ANNOUNCED = "announced"
# How often a checkpoint may be replaced while it is taken, or removed while it is written.
REPLACEMENTS = 100


class CheckpointFiles:
    """The checkpoints in the stage of one flow run.

    Args:
        stage: The stage.
        folder: Where in it new checkpoints are kept: in the stage itself, or in its inbox.
    """

    def __init__(self, stage: Stage, folder: str = "") -> None:
        self.stage = stage
        self.path = stage.path / folder / CHECKPOINTS
        self._folders = tuple(stage.path / x / CHECKPOINTS for x in ("", INBOX))

    def put(self, shard: Shard, blobs: Mapping[str, bytes]) -> None:
        """Store a checkpoint durably, whole or not at all, and remove the one before it.

        Args:
            shard: The latest value of every name.
            blobs: The payloads, by digest; one that is here already is not written again.
        """
        folder = self.path / RecordKey(shard.attempt.key)
        files = {checkpoint_blob(folder, digest): data for digest, data in blobs.items()}
        for _ in range(REPLACEMENTS):
            for path, data in files.items():
                if not path.exists():
                    _write(path, data)
            write_durable(folder / RECORD, shard.to_bytes())
            if all(path.exists() for path in (*files, folder / RECORD)):
                break  # else a seal that takes the attempt for dead has let go of it meanwhile
        named = {checkpoint_blob(folder, digest).name for digest in _payloads(shard.documents)}
        with contextlib.suppress(FileNotFoundError):  # no payload so far
            for name in set(os.listdir(folder / BLOBS)) - named:
                (folder / BLOBS / name).unlink(missing_ok=True)

    def payload(self, key: str, digest: str) -> Path:
        """Return the file with a payload of an attempt's checkpoint."""
        return checkpoint_blob(self.path / RecordKey(key), digest)

    def attempts(self) -> list[Attempt]:
        """Return the attempts that have checkpointed."""
        keys = {path.name for folder in self._folders for path in _listed(folder)}
        found = [self.record(key) for key in sorted(keys)]
        return [shard.attempt for shard in found if shard is not None]

    def has(self, key: str) -> bool:
        """Tell whether a checkpoint of an attempt is here."""
        own, received = self._folders
        return os.path.lexists(f"{own}/{key}") or os.path.lexists(f"{received}/{key}")

    def take(self, keys: Iterable[str]) -> dict[str, Shard]:
        """Return the last checkpoints of attempts by key, with their payloads among the stage's.

        Raises:
            DocumentError: One is damaged, or its payload is lost.
        """
        # Few attempts have any, and their folders are listed once and not looked for by key.
        here = {path.name for folder in self._folders for path in _listed(folder)}
        found = {key: self._take(key) for key in keys if key in here}
        return {key: shard for key, shard in found.items() if shard is not None}

    def _take(self, key: str) -> Shard | None:
        for _ in range(REPLACEMENTS):
            folder, shard = self._last(key)
            with contextlib.suppress(FileNotFoundError):  # an attempt that lives has replaced it
                for digest in _payloads(shard.documents) if shard else ():
                    self._pin(checkpoint_blob(folder, digest), digest)
                return shard
        raise DocumentError(f"the checkpoint of {key} has lost its payload")

    def _pin(self, path: Path, digest: str) -> None:
        """Link a payload into the stage's own; damaged bytes are not copied."""
        try:
            read_checked(path, digest)
        except DocumentError as error:
            raise damaged(path, error) from error
        link_or_copy(path, blob_in(self.stage.path, digest))

    def record(self, key: str) -> Shard | None:
        """Return the last checkpoint of an attempt, if there is one."""
        return self._last(key)[1]

    def _last(self, key: str) -> tuple[Path, Shard | None]:
        """Return the last checkpoint of an attempt, of this host or received, and its folder."""
        folders = [folder / RecordKey(key) for folder in self._folders]
        found = [(folder, self.read(folder)) for folder in folders]
        return max(found, key=lambda each: -1 if each[1] is None else number_of(each[1]))

    def read(self, folder: Path) -> Shard | None:
        """Read the checkpoint in its folder, if there is one; DocumentError where it is damaged."""
        try:
            shard = Shard.from_bytes(read_regular(folder / RECORD))
            check_attempt(shard.attempt, self.stage.flow_run_id, folder.name)
            check_checkpoint(shard)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (*MALFORMED, OverflowError, RecursionError) as error:
            raise damaged(folder / RECORD, error) from without_frames(error)
        return shard

    def discard(self, numbers: Mapping[str, int]) -> list[str]:
        """Remove checkpoints, by the keys of their attempts; return the keys of those removed.

        One with a higher number stays: its attempt runs on. What goes is what a listing shows.
        """
        kept = set()
        for path in (path for folder in self._folders for path in _listed(folder)):
            if path.name not in numbers:
                continue
            if (last := self.read(path)) is None or number_of(last) <= numbers[path.name]:
                shutil.rmtree(path, ignore_errors=True)
            else:
                kept.add(path.name)
        return [key for key in numbers if key not in kept]


def _listed(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        return [folder / name for name in os.listdir(folder)]
    return []


def announced_in(checkpoint: Shard | None) -> frozenset[str]:
    """Return the names in a checkpoint that the own record of an ended attempt has, too."""
    told = str(checkpoint.parameters.get(ANNOUNCED, "[]")) if checkpoint else "[]"
    return frozenset(json.loads(told))


def number_of(checkpoint: Shard) -> int:
    """Return the number of a checkpoint, counted from 1 within its attempt."""
    return int(checkpoint.parameters.get(NUMBER, 0))


def check_checkpoint(checkpoint: Shard) -> None:
    """Raise an error where a checkpoint lacks its number, or its notes are no JSON."""
    number_of(checkpoint)
    announced_in(checkpoint)


def _write(path: Path, data: bytes) -> None:
    stored = blob_path(f"sha256:{path.name}")
    with contextlib.suppress(OSError):
        if stored.stat().st_size == len(data):  # an instance that is in the registry already
            link_or_copy(stored, path)
            return
    write_whole(path, data, durable=True)


def checkpoint_blob(folder: Path, digest: str) -> Path:
    """Return the file of a payload in the folder of a checkpoint."""
    return folder / BLOBS / hex_of(digest)


def _payloads(documents: Documents | None) -> list[str]:
    return [] if documents is None else [layer.digest for layer in payload_layers(documents)]
