"""Where shards wait for a seal on another host: a place that all hosts reach.

Each record is one object, named as in the directory of a local stage:

    <owner>/flow.json           what the seal needs to know of the flow run
    <owner>/starts/<key>        an attempt that began
    <owner>/shards/<key>        an attempt that ended, with its payload (see _shard_archive)
    <owner>/parts/<key>         a call on current_experiment(), likewise
    <owner>/checkpoints/<key>   the last checkpoint of an attempt, likewise
    <owner>/rolled-back/<id>    a task run that was rolled back
    <owner>/subflows/<id>       the record of a subflow run

What cannot be written there is written into the local stage of this host, its outbox, and goes
out with the next record that can, or by `ommx-prefect recover` on this host; a seal here takes it
from there, too. On a host that has no record of the flow run, `outbox.json` names the place.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._prefect.log import warn
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect._registry.files import write_whole
from ommx_prefect._shards.archive import check_attempt, open_archive, pack_archive
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.blocks import open_remote
from ommx_prefect._stages.checkpoints import CheckpointFiles, number_of
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    FLOW_RECORD,
    OUTBOX_RECORD,
    RELEASED,
    UNSENT,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.object_store import READERS, Remote
from ommx_prefect.exceptions import DocumentError, StageError

T = TypeVar("T")

# Documents that other hosts must see; all others concern the sealing host alone.
SHARED = (FLOW_RECORD, "subflows/", "rolled-back/")
# Directory of an object -> the method that checks it and keeps it here.
BRINGERS = {
    "": "_bring_document",
    "starts": "_bring_start",
    "shards": "_bring_shard",
    "parts": "_bring_shard",
    "checkpoints": "_bring_checkpoint",
    "subflows": "_bring_document",
    "rolled-back": "_bring_document",
}


class MirroredStage(LocalStage):
    """The stage of one flow run in a place that many hosts share.

    Args:
        owner: As for `LocalStage`.
        name: The place: a storage block as `type-slug/name`, say.
    """

    def __init__(self, owner: str, name: str) -> None:
        super().__init__(owner)
        self.name = name
        self._seen: list[str] = []
        self._ended: set[str] = set()
        # Digests of the checkpoints that were brought here, by name.
        self._brought: dict[str, str] = {}

    @property
    def remote(self) -> Remote:
        """The shared place."""
        return open_remote(self.name)

    # ------------------------------------------------------------ records go out

    def begin(self, attempt: Attempt) -> None:
        """Note that an attempt has begun; it is not the attempt's fault if that fails there."""
        document = json.dumps(vars(attempt)).encode()
        if self._problem_with(self._send, f"starts/{attempt.key}", document):
            self._open_outbox()
            super().begin(attempt)

    def put(self, shard: Shard, directory: str = "shards") -> str | None:
        """Make a shard durable there, or here; return why it is here."""
        if problem := self._problem_with(
            self._send_shard, f"{directory}/{shard.attempt.key}", shard
        ):
            self._open_outbox()
            with self.locked():
                super().put(shard, directory)
            warn(
                f"The record of {shard.attempt.task_run or shard.attempt.task!r} waits on "
                f"{shard.attempt.host} in {self.path}: {problem}. It goes out with the next "
                "record of this flow run on this host; a seal here takes it, too"
            )
            return problem
        self.remove(f"starts/{shard.attempt.key}")
        if any(self._files(name) for name in ("shards", "parts", UNSENT)):
            self.flush()
        return None

    def share_checkpoint(self, checkpoint: Shard) -> str | None:
        """Make the last checkpoint of an attempt durable there, too, in place of the one before."""
        name = f"{CHECKPOINTS}/{checkpoint.attempt.key}"
        return self._problem_with(self._send_checkpoint, name, checkpoint)

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a document here, and for other hosts where they need it.

        Raises:
            StageError: The record of the flow run cannot be written: nothing has begun yet.
        """
        if name.startswith(SHARED):
            data = json.dumps(document).encode()
            problem = self._problem_with(self._send, name, data)
            if problem and name == FLOW_RECORD:
                raise StageError(self.name, problem)
            if problem:
                self._open_outbox()
                super().write(f"{UNSENT}/{name.replace('/', '.')}", document)
                warn(f"{name} of flow run {self.owner} waits on this host: {problem}")
        super().write(name, document)

    def flush(self) -> str | None:
        """Send what could not be sent before; return the problem where it cannot be sent now."""
        with self.locked():  # no other process pins or lets go of payload meanwhile
            for directory in ("shards", "parts", "starts"):
                for path in self._files(directory):
                    name = f"{directory}/{path.name}"
                    if problem := self._problem_with(self._send_file, name, path):
                        return problem
                    self.remove(name)
                    self.remove(f"starts/{path.name}")  # its checkpoints stay for a seal here
            if problem := self._send_unsent():
                return problem
            super().discard(())
        return None

    def _send_file(self, name: str, path: Path) -> None:
        data = path.read_bytes()
        if name.startswith("starts/"):
            self._send(name, data)
        else:
            self._send_shard(name, Shard.from_bytes(data))

    def _open_outbox(self) -> None:
        if not self.has(FLOW_RECORD):  # which names the stage, too
            super().write(OUTBOX_RECORD, {"stage": self.name})

    def _problem_with(self, send: Callable[[str, T], None], name: str, what: T) -> str | None:
        """Send an object; return the problem, or None."""
        try:
            send(name, what)
        except StageError as error:
            open_remote.cache_clear()  # a block may have got new credentials
            return str(error)
        return None

    def _send(self, name: str, data: bytes) -> None:
        self.remote.write(f"{self.owner}/{name}", data)

    def _send_shard(self, name: str, shard: Shard) -> None:
        self._send(name, pack_archive(shard, self._read_pinned))

    def _send_checkpoint(self, name: str, checkpoint: Shard) -> None:
        payload = functools.partial(CheckpointFiles(self).payload, checkpoint.attempt.key)
        self._send(name, pack_archive(checkpoint, lambda digest: payload(digest).read_bytes()))

    def _read_pinned(self, digest: str) -> bytes:
        pinned = self.path / "blobs" / "sha256" / blob_path(digest).name
        return pinned.read_bytes() if pinned.exists() else read_blob(digest)

    # ------------------------------------------------------------ records come in

    def read(self, name: str) -> dict[str, Any] | None:
        """Read a document here; the flow run's record from there where this host has none.

        It is not kept: a record here says that the flow run ran here, or is sealed here.
        """
        if name != FLOW_RECORD or self.has(name):
            return super().read(name)
        shared = f"{self.owner}/{name}"
        if shared not in self.remote.names(f"{self.owner}/"):
            return None
        with self._refusing(shared):
            return self._checked_document("", name, self.remote.read(shared))

    def exists(self) -> bool:
        """Tell whether anything waits, here or there."""
        here = any(self._files(name) for name in ("starts", "shards", "parts"))
        return here or self.has(FLOW_RECORD) or bool(self.remote.names(f"{self.owner}/"))

    def collect(self, sealed: Collection[str]) -> None:
        """Bring what waits there, and is not sealed yet, into the local stage.

        Raises:
            DocumentError: An object is damaged, or no record of this flow run. It is named.
            StageError: The place does not answer.
        """
        self._seen = self.remote.names(f"{self.owner}/")
        self._share_outbox(sealed)
        self._ended = {x for x in self._seen if "/shards/" in x}
        ended = {x.replace("/shards/", "/starts/") for x in self._ended}
        wanted = [
            name
            for name in self._seen
            # Of a checkpoint there may be a later one.
            if ("/checkpoints/" in name or not self.has(name.removeprefix(f"{self.owner}/")))
            and name.rpartition("/")[2] not in sealed
            and name not in ended
        ]
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._bring, wanted))

    def _share_outbox(self, sealed: Collection[str]) -> None:
        """Send what only this host has: a retry may be sealed on another one."""
        for directory in ("shards", "parts"):
            for path in self._files(directory):
                name = f"{directory}/{path.name}"
                if path.name in sealed or f"{self.owner}/{name}" in self._seen:
                    continue
                if self._problem_with(self._send_file, name, path) is None:
                    self._seen.append(f"{self.owner}/{name}")
        self._send_unsent()

    def _send_unsent(self) -> str | None:
        for path in self._files(UNSENT):
            name = path.name.replace(".", "/", 1)
            if problem := self._problem_with(self._send, name, path.read_bytes()):
                return problem
            path.unlink()
            self._seen.append(f"{self.owner}/{name}")
        return None

    def is_released(self) -> bool:
        """Tell whether a finished seal of another host has removed the flow run's records."""
        return f"{self.owner}/{FLOW_RECORD}" not in self._seen and not self.has(RELEASED)

    def release(self) -> None:
        """Remove what a finished seal holds; what came there later stays.

        An attempt that was taken for dead may run on, and have replaced its checkpoint.
        """
        shutil.rmtree(self.path / UNSENT, ignore_errors=True)
        super().write(RELEASED, {})
        with ThreadPoolExecutor(READERS) as pool:
            is_held = list(pool.map(self._is_held, self._seen))
        try:
            self._remove_there([x for x, held in zip(self._seen, is_held, strict=True) if held])
        except StageError as error:
            warn(f"The experiment is sealed; {error}. What is left there is in it already")

    def _is_held(self, name: str) -> bool:
        """Tell whether an object is still what was brought here."""
        ended = name.replace(f"/{CHECKPOINTS}/", "/shards/")
        if name not in self._brought or ended in self._ended:
            return True  # no checkpoint, or the last one of an attempt that has ended
        with contextlib.suppress(StageError, DocumentError):
            return self._brought[name] == sha256_digest(self.remote.read(name))
        return False

    def _remove_there(self, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self.remote.remove, names))

    def _bring(self, name: str) -> None:
        directory, _, key = name.removeprefix(f"{self.owner}/").rpartition("/")
        with self._refusing(name):
            if directory not in BRINGERS or key[:1] in ("", "."):
                raise DocumentError("it is none of a stage's records")
            data = self.remote.read(name)
            if directory == CHECKPOINTS:
                self._brought[name] = sha256_digest(data)
            getattr(self, BRINGERS[directory])(directory, key, data)

    @contextlib.contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (DocumentError, ValueError, TypeError) as error:
            raise DocumentError(
                f"{name} in stage {self.name!r} is refused: {error}. Remove the object, or put "
                "the right one in its place"
            ) from error

    def _bring_shard(self, directory: str, key: str, data: bytes) -> None:
        shard, blobs = open_archive(data, self.owner, key)
        for blob, content in blobs.items():
            write_whole(self.path / "blobs" / "sha256" / blob, content)
        write_whole(self.path / directory / key, shard.to_bytes(), durable=True)

    def _bring_checkpoint(self, directory: str, key: str, data: bytes) -> None:
        self._keep_checkpoint(*open_archive(data, self.owner, key))

    def _keep_checkpoint(self, checkpoint: Shard, blobs: Mapping[str, bytes]) -> None:
        files = CheckpointFiles(self)
        here = files.record(checkpoint.attempt.key)
        if here is None or number_of(here) < number_of(checkpoint):
            files.put(checkpoint, blobs)

    def _bring_start(self, directory: str, key: str, data: bytes) -> None:
        attempt = Attempt(**json.loads(data))
        check_attempt(attempt, self.owner, key)
        super().begin(attempt)

    def _bring_document(self, directory: str, key: str, data: bytes) -> None:
        document = self._checked_document(directory, key, data)
        super().write(f"{directory}/{key}".lstrip("/"), document)

    def _checked_document(self, directory: str, key: str, data: bytes) -> dict[str, Any]:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise DocumentError("it is no JSON object")
        owner = document.get("flow_run_id", key)
        if owner != (self.owner if directory == "" else key):
            raise DocumentError(f"it belongs to flow run {owner}")
        return document
