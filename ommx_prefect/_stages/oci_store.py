"""How a repository of an OCI registry holds the records of a stage: as manifests with tags."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._oci.names import check_manifest_size, digest_of, layers_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._oci.upload import push_blobs
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.object_store import READERS
from ommx_prefect._stages.oci_access import open_repository, translated
from ommx_prefect._stages.oci_manifests import (
    EMPTY,
    EMPTY_BLOB,
    check_layers,
    document_of,
    name_of,
    record_manifest,
    shard_manifest,
    tag_of,
    tombstone,
)
from ommx_prefect.exceptions import NotInRegistryError, RegistryError, StageError

# Stages whose registry has refused to delete, and who was told so.
_keepers: set[str] = set()


@functools.lru_cache(maxsize=64)
def _push_empty(repository: Repository) -> None:
    """Push the blob that every JSON document names, once for each opened repository."""
    repository.push_blob(EMPTY_BLOB, EMPTY.digest)


class OciRemote:
    """The records of flow runs in one repository; used by many threads.

    Args:
        stage: The stage, `oci://registry/repository`.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage

    @property
    def repository(self) -> Repository:
        """The repository, tried again for a moment only: a task may wait for it."""
        return open_repository(self.stage, brief=True)

    def await_answer(self) -> None:
        """Wait for a registry that is away, as long as a seal can wait."""
        with translated(self.stage, "ask what is there"):
            open_repository(self.stage).find_manifest("latest")

    def write(self, name: str, data: bytes) -> None:
        """Store a JSON document."""
        with translated(self.stage, f"write {name}"):
            _push_empty(self.repository)
            self._put(name, record_manifest(name, data))

    def write_shard(self, name: str, shard: Shard, find: Callable[[str], Path]) -> None:
        """Store a shard: its payload, which `find` finds by digest, and then what names it."""
        with translated(self.stage, f"write {name}"):
            manifest, config = shard_manifest(name, shard)
            check_manifest_size(manifest, layers_of(manifest))
            # One blob by itself: a registry that is away is found once, not four times.
            self.repository.push_blob(config, digest_of(config))
            payload = {layer.digest: find(layer.digest) for layer in payload_of(shard)}
            if not payload:
                _push_empty(self.repository)
            push_blobs(self.repository, payload)
            self._put(name, manifest)

    def _put(self, name: str, manifest: bytes) -> None:
        try:
            self.repository.put_manifest(tag_of(name), manifest, MANIFEST_MEDIA_TYPE)
        except RegistryError:
            _push_empty.cache_clear()  # the registry may have lost it
            raise

    def read(self, name: str) -> bytes:
        """Return a JSON document, or a shard whose manifest lists the payload that it names."""
        with translated(self.stage, f"read {name}"):
            manifest = self.repository.get_manifest(tag_of(name))
            document = document_of(name, manifest)
            if document is None:
                reason = f"another seal is removing {name}"
                raise NotInRegistryError(
                    self.repository.registry, self.repository.repository, reason
                )
            if isinstance(document, bytes):
                return document
            data = self.repository.get_blob(document.digest, most_bytes=document.size)
            check_layers(manifest, Shard.from_bytes(data))
            return data

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix."""
        with translated(self.stage, f"list {prefix}"):
            return [name_of(tag) for tag in self.repository.tags(prefix.replace("/", "_"))]

    def remove(self, name: str) -> None:
        """Remove an object, where it is there."""
        self.remove_all([name])

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects, where they are there; where the registry keeps them, say so once.

        docker-registry 2.8 looks at every tag of a repository for each manifest that it deletes,
        18 s for a thousand. So all tags are moved to one tombstone, and go with it; without tags
        a manifest is deleted at once.
        """
        if self.stage in _keepers:
            return
        with translated(self.stage, "remove the records"), ThreadPoolExecutor(READERS) as pool:
            found = dict(zip(names, pool.map(self._find, names), strict=True))
            digests = [digest for digest in found.values() if digest is not None]
            if digests and not self.repository.delete_manifest(digests[0]):
                _keepers.add(self.stage)
                raise StageError(self.stage, "its registry does not let anybody delete manifests")
            if left := [name for name in names if found[name] not in (None, *digests[:1])]:
                self._bury(left, pool)
            list(pool.map(self.repository.delete_manifest, digests[1:]))

    def _find(self, name: str) -> str | None:
        return self.repository.find_manifest(tag_of(name))

    def _bury(self, names: Sequence[str], pool: ThreadPoolExecutor) -> None:
        manifest = tombstone()
        tags = map(tag_of, names)
        put = functools.partial(
            self.repository.put_manifest, manifest=manifest, media_type=MANIFEST_MEDIA_TYPE
        )
        list(pool.map(put, tags))
        self.repository.delete_manifest(digest_of(manifest))
