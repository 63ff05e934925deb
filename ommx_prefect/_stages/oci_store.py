"""Store the records of a stage in a repository of an OCI registry, as tagged manifests.

    <repository>:<owner>_flow.json          what the seal needs to know of the flow run
    <repository>:<owner>_starts_<key>       an attempt that began
    <repository>:<owner>_shards_<key>       an attempt that ended: its manifest lists its payload
    <repository>:<owner>_parts_<key>, ...   and so on: see `shared` and `oci_manifests`

Payload is pushed once, and stays there. A seal fetches manifests and configs. Payload comes to its
host only where the experiment is to stand in the Local Registry.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor
from ommx_prefect._oci.names import check_manifest_size, digest_of, layers_of, split_name
from ommx_prefect._oci.repository import Repository
from ommx_prefect._oci.upload import push_blobs, size_of
from ommx_prefect._shards.archive import check_attempt, payload_of
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.address import split_stage
from ommx_prefect._stages.documents import SHARDS, STARTS
from ommx_prefect._stages.oci_access import open_repository, translated
from ommx_prefect._stages.oci_manifests import (
    EMPTY,
    EMPTY_BLOB,
    check_layers,
    document_of,
    is_inline,
    is_shard,
    name_of,
    record_manifest,
    shard_manifest,
    tag_of,
    tombstone,
)
from ommx_prefect._stages.signing import Signer
from ommx_prefect._stages.start_record import start_document
from ommx_prefect._stages.store import READERS
from ommx_prefect.exceptions import NotInRegistryError, RegistryError, StageError

# Of a payload that is sent without asking whether it is there: to ask takes as long as to send it.
MOST_UNASKED_BYTES = 64 * 1024
# Of a repository whose manifests are deleted one by one, tags and all.
MOST_TAGS = 300
# Stages whose registry refuses to delete, which was said once.
_without_deletion: set[str] = set()


@functools.lru_cache(maxsize=64)
def _push_empty(repository: Repository) -> None:
    """Push the blob that every JSON document names, once for each opened repository."""
    repository.push_blob(EMPTY_BLOB, EMPTY.digest)


class OciStore:
    """The records of flow runs in one repository; used by many threads.

    Args:
        name: The stage, `oci://registry/repository`, perhaps with
            `?credentials=type-slug/name`.
        signer: Returns what signs the records.
    """

    def __init__(self, name: str, signer: Callable[[], Signer] = Signer) -> None:
        self.name, self._signer = name, signer
        # Digests of the manifests that were read, and of the start records of shards among them.
        self._read: dict[str, str] = {}
        self._begun: dict[str, str] = {}
        # How many tags the repository had when they were listed last.
        self._most_tags = MOST_TAGS + 1

    @property
    def repository(self) -> Repository:
        """The repository, tried again for a moment only: a task may wait for it."""
        return open_repository(self.name, brief=True)

    def await_answer(self) -> None:
        """Wait for a registry that is away, as long as a seal can wait."""
        with translated(self.name, "ask what is there"):
            open_repository(self.name).find_manifest("latest")

    def write(self, name: str, data: bytes) -> None:
        """Store a JSON document."""
        signed = self._signer().signed(name, data)
        with translated(self.name, f"write {name}"):
            _push_empty(self.repository)
            self._put(name, record_manifest(name, signed))

    def put_shard(self, name: str, shard: Shard, find: Callable[[str], Path]) -> None:
        """Store a shard: its payload, which `find` finds by digest, and then what names it."""
        config = self._signer().signed(name, shard.bare.to_bytes())
        with translated(self.name, f"write {name}"):
            manifest = shard_manifest(name, shard, config)
            check_manifest_size(manifest, layers_of(manifest))
            digests, own = {layer.digest for layer in payload_of(shard)}, shard.payload
            blobs: dict[str, Path | bytes] = {x: own[x] if x in own else find(x) for x in digests}
            if is_inline(config):
                _push_empty(self.repository)
            else:
                blobs = {digest_of(config): config, **blobs}
            self._push(blobs)
            self._put(name, manifest)

    def _push(self, blobs: Mapping[str, Path | bytes]) -> None:
        """Push one blob by itself, then the others: a registry that is away is found once."""
        first = next(iter(blobs), None)
        if first is not None:
            is_large = size_of(blobs[first]) > MOST_UNASKED_BYTES
            self.repository.push_blob(blobs[first], first, ask=is_large)
        if others := {x: blob for x, blob in blobs.items() if x != first}:
            push_blobs(self.repository, others, unasked_bytes=MOST_UNASKED_BYTES)

    def _put(self, name: str, manifest: bytes) -> None:
        try:
            self.repository.put_manifest(tag_of(name), manifest, MANIFEST_MEDIA_TYPE)
        except RegistryError:
            _push_empty.cache_clear()  # the registry may have lost it
            raise

    def read(self, name: str) -> bytes:
        """Return a JSON document, or a shard whose manifest lists the payload that it names."""
        with translated(self.name, f"read {name}"):
            manifest = self.repository.get_manifest(tag_of(name))
            document = document_of(name, manifest)
            if document is None:
                reason = f"another seal is removing {name}"
                raise NotInRegistryError(
                    self.repository.registry, self.repository.repository, reason
                )
            found = document if isinstance(document, bytes) else self._config(document)
            data = self._signer().opened(name, found)
            self._read[name] = digest_of(manifest)
            if is_shard(manifest):
                shard = Shard.from_bytes(data)
                check_layers(manifest, shard)
                self._remember_start(name, shard.attempt)
            return data

    def _remember_start(self, name: str, attempt: Attempt) -> None:
        """Work out which manifest the start record of an attempt is, so that it is not asked for.

        Where another release wrote other bytes, a manifest of a kilobyte stays without a tag.
        """
        folder = f"/{SHARDS}/"
        if folder in name:
            start = name.replace(folder, f"/{STARTS}/")
            signed = self._signer().signed(start, start_document(attempt))
            self._begun[start] = digest_of(record_manifest(start, signed))

    def _config(self, config: Descriptor) -> bytes:
        return self.repository.get_blob(config.digest, most_bytes=config.size)

    def unpack(self, data: bytes, owner: str, key: str) -> tuple[Shard, Mapping[str, bytes]]:
        """Check a shard that was read; its payload stays where it is."""
        shard = Shard.from_bytes(data)
        check_attempt(shard.attempt, owner, key)
        if shard.documents is not None:
            decode(shard.documents)  # checks the digests of its documents
        return shard, {}

    def fetch(
        self, digest: str, target: Path, image_name: str = "", size: int | None = None
    ) -> None:
        """Write a payload of this repository, or of an experiment's, into a file."""
        # Asked for as ever where it is the stage's own: a block cannot be loaded in every thread.
        other = (split_name(image_name).repository,) if self.serves(image_name) else ()
        with translated(self.name, f"fetch {digest}"):
            open_repository(self.name, *other).save_blob(digest, target, size)

    def serves(self, image_name: str) -> bool:
        """Tell whether an image name belongs to the registry of the stage."""
        registry = split_stage(self.name).registry
        return bool(image_name) and split_name(image_name).registry == registry

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix."""
        with translated(self.name, f"list {prefix}"):
            tags = self.repository.tags()
        self._most_tags = len(tags)
        return [name_of(tag) for tag in tags if tag.startswith(prefix.replace("/", "_"))]

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects, where they are there; where the registry keeps them, say so once.

        docker-registry 2.8 looks at every tag of a repository for each manifest that it deletes,
        18 s for a thousand. So where there are many, all tags are moved to one tombstone, and go
        with it; without tags a manifest is deleted at once.
        """
        if self.name in _without_deletion:
            return
        with translated(self.name, "remove the records"), ThreadPoolExecutor(READERS) as pool:
            first, *others = self._digests_of(names, pool) or [""]
            if first and not self.repository.delete_manifest(first):
                _without_deletion.add(self.name)
                raise StageError(self.name, "its registry does not let anybody delete manifests")
            if self._most_tags <= MOST_TAGS:
                list(pool.map(self.repository.delete_manifest, others))
                others = []
            if left := self._tagged(names):
                self._retag(left, pool)
            list(pool.map(self.repository.delete_manifest, others))

    def _digests_of(self, names: Sequence[str], pool: ThreadPoolExecutor) -> list[str]:
        """Return the digests of the manifests that are there, the worked out ones last."""
        begun = [self._begun[name] for name in names if name in self._begun]
        asked = [name for name in names if name not in self._begun]
        return [*(digest for digest in pool.map(self._find, asked) if digest), *begun]

    def _tagged(self, names: Sequence[str]) -> list[str]:
        """Return which of these have a tag still."""
        tags = set(self.repository.tags())
        return [name for name in names if tag_of(name) in tags]

    def _find(self, name: str) -> str | None:
        return self._read.get(name) or self.repository.find_manifest(tag_of(name))

    def _retag(self, names: Sequence[str], pool: ThreadPoolExecutor) -> None:
        """Move the tags of records to one tombstone, and delete that with them."""
        manifest = tombstone()
        tags = map(tag_of, names)
        put = functools.partial(
            self.repository.put_manifest, manifest=manifest, media_type=MANIFEST_MEDIA_TYPE
        )
        list(pool.map(put, tags))
        self.repository.delete_manifest(digest_of(manifest))
