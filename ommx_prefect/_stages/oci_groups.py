"""Write many small records as one OCI manifest, a group, and take them out again.

    <repository>:<flow run id>_groups_<id>    records of attempts, with all of their payload

A registry is asked for each manifest when it is read, and again when it is removed. So a process
that has left some records, each in a manifest of its own, puts them together (see `oci_gathering`).
A group is written once, and never changed.

What it holds is an annotation, in base64, of a MessagePack map in zlib: records of one flow have
most of their bytes in common. Each is as it was by itself, with its own digest and signature.
"""

from __future__ import annotations

import functools
import uuid
import zlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgpack

from ommx_prefect._oci.answers import OtherBytesError
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._shards.archive import check_attempt
from ommx_prefect._shards.digests import unpacked
from ommx_prefect._shards.schema import FORMAT_KEY, check_format
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.documents import PARTS, SHARDS, STARTS, object_name
from ommx_prefect._stages.oci_manifests import (
    GROUP_ANNOTATION,
    GROUP_TYPE,
    check_payload,
    inline_manifest,
    inlined,
    name_of,
    parsed_manifest,
    tag_of,
)
from ommx_prefect._stages.signing import Signer
from ommx_prefect._stages.start_record import read_start
from ommx_prefect._stages.store import GROUPS, READERS
from ommx_prefect.exceptions import DocumentError, NotInRegistryError

GROUP_FORMAT = 1
# Of a group when it is unpacked: what a few kilobytes are packed from may be a gigabyte.
MOST_GROUP_BYTES = 4 * 1024 * 1024
# Groups that are held unpacked: records are read in their order, by some threads.
_UNPACKED = 16


@dataclass(frozen=True)
class Group:
    """A group as it lies in a registry.

    Attributes:
        name: Its name, `<flow run id>/groups/<id>`.
        digest: The digest of its manifest.
        packed: What it holds.
    """

    name: str
    digest: str
    packed: bytes

    @property
    def records(self) -> Mapping[str, bytes]:
        """The bytes of its records by name."""
        return _records_in(self.packed)


def new_group(flow_run_id: str) -> str:
    """Return a new unique name for a group."""
    return f"{flow_run_id}/{GROUPS}/{uuid.uuid4().hex}"


def is_group(name: str) -> bool:
    """Tell whether an object's name is that of a group."""
    return f"/{GROUPS}/" in name


def group_manifest(name: str, records: Mapping[str, bytes]) -> bytes:
    """Write records, by name, as the manifest of a group."""
    packed = zlib.compress(msgpack.packb({FORMAT_KEY: GROUP_FORMAT, "records": dict(records)}))
    return inline_manifest(name, GROUP_TYPE, GROUP_ANNOTATION, packed)


def open_group(name: str, digest: str, manifest: bytes) -> Group:
    """Read the manifest of a group.

    Raises:
        DocumentError: It is none, is damaged, or holds what is no record of an attempt.
        UnknownFormatError: A later release wrote it.
    """
    document = parsed_manifest(name, manifest, (GROUP_TYPE,))
    group = Group(name, digest, inlined(document, GROUP_ANNOTATION))
    flow_run_id = name.partition("/")[0]
    for record in group.records:
        _, _, own = record.partition("/")
        if own.partition("/")[0] not in (STARTS, SHARDS, PARTS) or record != object_name(
            flow_run_id, own
        ):
            raise DocumentError(f"it holds {record[:200]!r}, which is no record of {flow_run_id}")
    return group


@functools.lru_cache(maxsize=_UNPACKED)
def _records_in(packed: bytes) -> Mapping[str, bytes]:
    opened = zlib.decompressobj()
    try:
        data = opened.decompress(packed, MOST_GROUP_BYTES)
        if not opened.eof:
            raise ValueError(f"it has more than {MOST_GROUP_BYTES:,} bytes, or ends too early")
        fields = unpacked(data)
        check_format(fields.pop(FORMAT_KEY), GROUP_FORMAT)
        records = fields.pop("records")
        if fields or not all(_is_record(*x) for x in records.items()):
            raise ValueError("it holds more than records")
    except DocumentError:
        raise
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DocumentError(f"it is no group of records: {error}") from error
    return dict(records)


def _is_record(name: object, data: object) -> bool:
    return isinstance(name, str) and isinstance(data, bytes)


def _check(name: str, data: bytes) -> None:
    """Raise DocumentError unless a record agrees with its name."""
    flow_run_id, kind, key = name.split("/")
    if kind == STARTS:
        read_start(data, flow_run_id, key)
        return
    shard = Shard.from_bytes(data)
    check_attempt(shard.attempt, flow_run_id, key)
    check_payload(shard)


@dataclass
class Groups:
    """The groups of one flow run, as they were found last.

    Attributes:
        found: The groups by name.
        of: The group of each record in one.
        twice: Those of these records that are there by themselves, too: they are read so, as their
            attempts have written them.
        damaged: The names of groups that cannot be read.
    """

    found: Mapping[str, Group] = field(default_factory=dict)
    of: Mapping[str, Group] = field(default_factory=dict)
    twice: Collection[str] = frozenset()
    damaged: Collection[str] = ()

    def find(self, repository: Repository, tags: Collection[str], flow_run_id: str) -> None:
        """Open those groups of a flow run, by the tags of its repository, that are new."""
        names = [name_of(tag) for tag in tags if tag.startswith(f"{flow_run_id}_{GROUPS}_")]
        with ThreadPoolExecutor(READERS) as pool:
            opened = list(pool.map(lambda name: self._opened(repository, name), names))
        self.found = {each.name: each for each in opened if isinstance(each, Group)}
        self.of = {record: group for group in self.found.values() for record in group.records}
        self.twice = self.of.keys() & set(map(name_of, tags))
        self.damaged = [each for each in opened if isinstance(each, str)]

    def opened(self, name: str, signer: Signer) -> bytes:
        """Return a record that is in a group, without its signature; errors name the group."""
        group = self.of[name]
        try:
            data = signer.opened(name, group.records[name])
            _check(name, data)
        except DocumentError as error:
            own = group.name.partition("/")[2]
            raise type(error)(f"in {own}: {error}") from error
        return data

    def _opened(self, repository: Repository, name: str) -> Group | str | None:
        """Return a group, its name where it is damaged, or None where it has gone."""
        try:
            return self.found.get(name) or read_group(repository, name)
        except NotInRegistryError:
            return None
        except (DocumentError, OtherBytesError):
            return name


def read_group(repository: Repository, name: str) -> Group:
    """Read a group; errors as for `open_group`, and those of a registry."""
    manifest = repository.get_manifest(tag_of(name))
    return open_group(name, digest_of(manifest), manifest)
