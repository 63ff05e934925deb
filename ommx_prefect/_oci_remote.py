"""How a repository of an OCI registry holds the records of a stage: as manifests with tags."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from ommx_prefect._oci import Repository
from ommx_prefect._oci_access import open_repository, translated
from ommx_prefect._oci_names import check_manifest_size, digest_of, layers_of
from ommx_prefect._oci_records import (
    EMPTY,
    EMPTY_BLOB,
    check_layers,
    document_of,
    name_of,
    record_manifest,
    shard_manifest,
    tag_of,
)
from ommx_prefect._push import push_blobs
from ommx_prefect._records import MANIFEST_MEDIA_TYPE
from ommx_prefect._shard_archive import payload_of
from ommx_prefect._shards import Shard
from ommx_prefect.exceptions import RegistryError, StageError

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
        """Remove an object, where it is there; where the registry keeps it, say so once."""
        if self.stage in _keepers:
            return
        with translated(self.stage, f"remove {name}"):
            digest = self.repository.find_manifest(tag_of(name))
            deleted = digest is None or self.repository.delete_manifest(digest)
        if not deleted:
            _keepers.add(self.stage)
            raise StageError(self.stage, "its registry does not let anybody delete manifests")
