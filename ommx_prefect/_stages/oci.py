"""Where shards wait for a seal in an OCI registry: payload is pushed once, and stays there.

    <repository>:<owner>_flow.json          what the seal needs to know of the flow run
    <repository>:<owner>_starts_<key>       an attempt that began
    <repository>:<owner>_shards_<key>       an attempt that ended: its manifest lists its payload
    <repository>:<owner>_parts_<key>, ...   and so on: see _mirrored_stage and _oci_records

A seal fetches manifests and configs. Payload comes to its host only where the experiment is to
stand in the Local Registry; see _homes.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Documents
from ommx_prefect._oci.names import split_name, split_stage
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._registry.files import write_whole
from ommx_prefect._shards.archive import check_attempt, payload_layers, payload_of
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import FLOW_RECORD
from ommx_prefect._stages.object_store import READERS
from ommx_prefect._stages.oci_access import open_repository, translated
from ommx_prefect._stages.oci_store import OciRemote
from ommx_prefect._stages.shared import MirroredStage
from ommx_prefect.exceptions import NotInRegistryError, StageError


class OciStage(MirroredStage):
    """The stage of one flow run in a repository of an OCI registry.

    Args:
        owner: As for `LocalStage`.
        name: `oci://registry/repository`, perhaps with `?credentials=type-slug/name`.
    """

    _extends = False

    @property
    def remote(self) -> OciRemote:
        """The repository."""
        return OciRemote(self.name)

    def serves(self, image_name: str) -> bool:
        """Tell whether an image name belongs to the stage's registry."""
        return split_name(image_name).registry == split_stage(self.name).registry

    def _send_shard(self, name: str, shard: Shard) -> None:
        self.remote.write_shard(f"{self.owner}/{name}", shard, self.bring)

    def _send_checkpoint(self, name: str, checkpoint: Shard) -> None:
        payload = functools.partial(CheckpointFiles(self).payload, checkpoint.attempt.key)
        self.remote.write_shard(f"{self.owner}/{name}", checkpoint, payload)

    def collect(self, sealed: Collection[str]) -> None:
        """Bring the records that wait there; their payload stays."""
        self.remote.await_answer()
        self._extends = bool(sealed)
        super().collect(sealed)

    def _bring(self, name: str) -> None:
        try:
            super()._bring(name)
        except StageError as error:
            # A seal that was cut off while it removed what it holds.
            if not (self._extends and isinstance(error.__cause__, NotInRegistryError)):
                raise

    def _remove_there(self, names: Sequence[str]) -> None:
        self.remote.remove_all(names)

    def _bring_shard(self, directory: str, key: str, data: bytes) -> None:
        shard = Shard.from_bytes(data)
        check_attempt(shard.attempt, self.owner, key)
        if shard.documents is not None:
            decode(shard.documents)  # checks the digests of its documents
        write_whole(self.path / directory / key, data, durable=True)

    def _bring_checkpoint(self, directory: str, key: str, data: bytes) -> None:
        checkpoint = Shard.from_bytes(data)
        check_attempt(checkpoint.attempt, self.owner, key)
        digests = {layer.digest for layer in payload_of(checkpoint)}
        self._keep_checkpoint(checkpoint, {x: self.bring(x).read_bytes() for x in digests})

    # ------------------------------------------------------------ payload

    def bring(self, digest: str) -> Path:
        """Return a file with a payload, fetched where this host does not have it."""
        pinned = self._pinned(digest)
        if not pinned.exists() and blob_path(digest).exists():
            return blob_path(digest)
        if not pinned.exists():
            pinned.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(digest, pinned)
        return pinned

    def pin(self, *documents: Documents) -> None:
        """Keep the payload of Experiments within reach; what is not here is fetched.

        Raises:
            StageError: It is not there, either.
        """
        digests = {x.digest for each in documents for x in payload_layers(each)}
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._pin_blob, sorted(digests)))

    def _pin_blob(self, digest: str) -> None:
        try:
            super()._pin_blob(digest)
        except FileNotFoundError:
            self.bring(digest)

    def _pinned(self, digest: str) -> Path:
        return self.path / "blobs" / "sha256" / blob_path(digest).name

    def _fetch(self, digest: str, target: Path) -> None:
        """Fetch a payload from the stage's repository, or from that of an earlier seal."""
        with translated(self.name, f"fetch {digest}"):
            try:
                open_repository(self.name).save_blob(digest, target)
            except NotInRegistryError:
                open_repository(self.name, self._sealed_repository()).save_blob(digest, target)

    def _sealed_repository(self) -> str:
        image_name = str((self.read(FLOW_RECORD) or {}).get("image_name", ""))
        return split_name(image_name).repository if self.serves(image_name) else ""
