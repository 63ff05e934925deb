"""Store the records of a stage in a repository of an OCI registry, as tagged manifests.

    <repository>:<flow run id>_flow.json      what the seal needs to know of the flow run
    <repository>:<flow run id>_starts_<key>   an attempt that began
    <repository>:<flow run id>_shards_<key>   an attempt that ended: its manifest lists its payload
    <repository>:<flow run id>_parts_<key>    and so on: see `shared` and `oci_manifests`
    <repository>:<flow run id>_groups_<id>    many of these in one: see `oci_groups`

Small payload is in its record. Other payload is pushed once, and stays there: it comes to the host
that seals only where the experiment is to stand in the Local Registry.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor
from ommx_prefect._oci.names import check_manifest_size, digest_of, layers_of, split_name
from ommx_prefect._oci.repository import MOST_BLOB_BYTES, Repository
from ommx_prefect._oci.upload import push_blobs, size_of
from ommx_prefect._shards.archive import ShardAndPayload, check_attempt, payload_of
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.address import split_stage
from ommx_prefect._stages.oci_access import open_repository, translated
from ommx_prefect._stages.oci_gathering import (
    MOST_TOGETHER_BYTES,
    Single,
    Singles,
    in_turn,
    put_together,
    settle,
    singles_of,
    start_of,
)
from ommx_prefect._stages.oci_groups import (
    Groups,
    group_manifest,
    is_group,
    new_group,
    read_group,
)
from ommx_prefect._stages.oci_manifests import (
    EMPTY,
    EMPTY_BLOB,
    check_layers,
    document_of,
    is_inline,
    is_record_of,
    is_shard,
    name_of,
    record_manifest,
    shard_manifest,
    tag_of,
    whole_or_bare,
)
from ommx_prefect._stages.oci_removal import remove
from ommx_prefect._stages.signing import Signer
from ommx_prefect._stages.start_record import start_document
from ommx_prefect._stages.store import READERS
from ommx_prefect.exceptions import DocumentError, NotInRegistryError, RegistryError, StageError

# Of a payload that is sent unasked: to ask whether it is there takes as long as to send it.
MOST_UNASKED_BYTES = 64 * 1024
# Stages whose registry refuses to delete, which was said once.
_without_deletion: set[str] = set()
# Stages in which this process could not put records together.
_left_apart: set[str] = set()


@functools.lru_cache(maxsize=64)
def _push_empty(repository: Repository) -> None:
    """Push the blob that every JSON document names, once for each opened repository."""
    repository.push_blob(EMPTY_BLOB, EMPTY.digest)


class OciStore:
    """The records of flow runs in one repository; used by many threads.

    Args:
        name: The stage, `oci://registry/repository`, perhaps with `?credentials=type-slug/name`.
        signer: Returns what signs the records.
    """

    def __init__(self, name: str, signer: Callable[[], Signer] = Signer) -> None:
        self.name, self._signer = name, signer
        # Digests of the manifests that were read, and of the start records of shards among them.
        self._read: dict[str, str] = {}
        self._begun: dict[str, str] = {}
        self._groups = Groups()

    @property
    def repository(self) -> Repository:
        """The repository, tried again for a moment only: a task may wait for it."""
        return open_repository(self.name, brief=True)

    def await_answer(self) -> None:
        """Wait for a registry that is away, as long as a seal can wait, and for this process."""
        settle()
        with translated(self.name, "ask what is there"):
            open_repository(self.name).find_manifest("latest")

    def write(self, name: str, data: bytes) -> None:
        """Store a JSON document."""
        signed = self._signer().signed(name, data)
        with translated(self.name, f"write {name}"):
            _push_empty(self.repository)
            self._put(name, manifest := record_manifest(name, signed))
        self._singles(name).add(name, manifest, signed)

    def put_shard(self, name: str, shard: Shard, find: Callable[[str], Path]) -> None:
        """Store a shard: payload beside it, which `find` finds, and then what names it."""
        sent = whole_or_bare(shard)
        config = self._signer().signed(name, sent.to_bytes())
        with translated(self.name, f"write {name}"):
            manifest = shard_manifest(name, sent, config)
            check_manifest_size(manifest, layers_of(manifest))
            own, inside = shard.payload, sent.payload
            digests = {layer.digest for layer in payload_of(shard)} - inside.keys()
            blobs: dict[str, Path | bytes] = {x: own[x] if x in own else find(x) for x in digests}
            if is_inline(config):
                _push_empty(self.repository)
            else:
                blobs = {digest_of(config): config, **blobs}
            self._push(blobs)
            self._put(name, manifest)
        if not digests and len(config) <= MOST_TOGETHER_BYTES:
            self._singles(name).add(name, manifest, config)
            self._put_together(name)
        else:
            self._singles(name).leave(name)

    def _singles(self, name: str) -> Singles:
        return singles_of(self.name, _flow_run_id_of(name))

    def _put_together(self, name: str) -> None:
        """Put together what this process has left one by one, once that is enough."""
        singles = self._singles(name).take()
        if singles and self.name not in _left_apart:
            repository = self.repository  # a block cannot be loaded in every thread
            in_turn(lambda: self._gather(repository, name, singles))

    def _gather(self, repository: Repository, name: str, singles: Mapping[str, Single]) -> None:
        try:
            with translated(self.name, "put records together"):
                is_allowed = put_together(repository, _flow_run_id_of(name), singles)
        except (StageError, DocumentError):  # they are all there by themselves
            is_allowed = False
        if not is_allowed:
            _left_apart.add(self.name)

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
        """Return a JSON document, or a shard whose payload is in it or listed by its manifest."""
        with translated(self.name, f"read {name}"):
            if is_group(name):
                return read_group(self.repository, name).packed
            if name not in self._groups.of or name in self._groups.twice:
                try:
                    return self._read_single(name)
                except NotInRegistryError:  # it was put together with others since
                    if name not in self._groups.of:
                        self._find_groups(_flow_run_id_of(name))
                    if name not in self._groups.of:
                        raise
            return self._groups.opened(name, self._signer())

    def raw(self, name: str) -> bytes:
        """Return a record of a group as it is in it, or the manifest that lies under a name."""
        if name in self._groups.of and name not in self._groups.twice:
            return self._groups.of[name].records[name]
        with translated(self.name, f"read {name}"):
            return self.repository.get_manifest(tag_of(name))

    def _read_single(self, name: str) -> bytes:
        manifest = self.repository.get_manifest(tag_of(name))
        document = document_of(name, manifest)
        if document is None:
            reason = f"another seal is removing {name}"
            raise NotInRegistryError(self.repository.registry, self.repository.repository, reason)
        if isinstance(document, Descriptor):
            most = min(document.size, MOST_BLOB_BYTES)
            document = self.repository.get_blob(document.digest, most_bytes=most)
        data = self._signer().opened(name, document)
        self._read[name] = digest_of(manifest)
        if is_shard(manifest):
            shard = Shard.from_bytes(data)
            check_layers(manifest, shard)
            self._remember_start(name, shard.attempt)
        return data

    def _remember_start(self, name: str, attempt: Attempt) -> None:
        """Compute the digest of an attempt's start record, to spare a request for it.

        Where another release wrote other bytes, a manifest of a kilobyte stays without a tag.
        """
        if (start := start_of(name)) != name:
            signed = self._signer().signed(start, start_document(attempt))
            self._begun[start] = digest_of(record_manifest(start, signed))

    def unpack(self, data: bytes, root_flow_run_id: str, key: str) -> ShardAndPayload:
        """Check a shard that was read; its payload stays where it is: in it, or there."""
        shard = Shard.from_bytes(data)
        check_attempt(shard.attempt, root_flow_run_id, key)
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
        """Return the names of all objects that begin with the prefix; of a group those in it."""
        with translated(self.name, f"list {prefix}"):
            names = map(name_of, self._find_groups(_flow_run_id_of(prefix)))
        single = (name for name in names if not is_group(name))
        found = {*single, *self._groups.of, *self._groups.damaged}
        return sorted(name for name in found if name.startswith(prefix))

    def _find_groups(self, flow_run_id: str) -> frozenset[str]:
        """Look for the groups of a flow run; return all tags of the repository."""
        tags = frozenset(self.repository.tags())
        self._groups.find(self.repository, tags, flow_run_id)
        return tags

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects, where they are there; where the registry keeps them, say so once."""
        if self.name in _without_deletion or not names:
            return
        with translated(self.name, "remove the records"), ThreadPoolExecutor(READERS) as pool:
            tags = frozenset(self.repository.tags())
            single = [x for x in names if x not in self._groups.of or tag_of(x) in tags]
            digests = self._digests_of(single, pool)
            is_done = remove(self.repository, pool, tags, digests, map(tag_of, single))
            # Their processes may have put some of them together meanwhile.
            tags = self._find_groups(_flow_run_id_of(names[0]))
            if not (is_done and self._remove_groups(tags, frozenset(names), pool)):
                _without_deletion.add(self.name)
                raise StageError(self.name, "its registry does not let anybody delete manifests")

    def _remove_groups(
        self, tags: Collection[str], names: frozenset[str], pool: ThreadPoolExecutor
    ) -> bool:
        """Remove the groups that hold any of these records; what else they hold stays."""
        going = [x for x in self._groups.found.values() if not names.isdisjoint(x.records)]
        for group in going:
            if left := {x: data for x, data in group.records.items() if x not in names}:
                other = new_group(_flow_run_id_of(group.name))
                self._put(other, group_manifest(other, left))
        digests = [group.digest for group in going]
        return remove(self.repository, pool, tags, digests, (tag_of(x.name) for x in going))

    def _digests_of(self, names: Sequence[str], pool: ThreadPoolExecutor) -> list[str]:
        """Return the digests of the manifests that are there, the worked out ones last."""
        begun = [self._begun[name] for name in names if name in self._begun]
        asked = [name for name in names if name not in self._begun]
        return [*(digest for digest in pool.map(self._find, asked) if digest), *begun]

    def _find(self, name: str) -> str | None:
        """Return the digest of a record's own manifest; None where its tag has another."""
        if read := self._read.get(name):
            return read
        with contextlib.suppress(NotInRegistryError):
            manifest = self.repository.get_manifest(tag_of(name))
            return digest_of(manifest) if is_record_of(name, manifest) else None
        return None


def _flow_run_id_of(name: str) -> str:
    return name.partition("/")[0]
