"""Write each record of a stage as an OCI manifest.

A shard (see `_shards.shard`), with the documents of its Experiment and small payload, is an
annotation in base64: one request writes it, and one reads it. Other payload is the layers of the
manifest, as OMMX describes it, so that the registry keeps it. A large shard is the config of its
manifest instead, a blob of its own, as all were before.

Any other record is a small JSON document, and an annotation of a manifest that has nothing else.

Every manifest names its object, so no two of them are the same, and none is an Experiment's own:
deleting one by its digest takes nothing else away.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ommx_prefect._format.decode import check_blob, descriptor_of
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor, describe
from ommx_prefect._format.strict_json import strict_json
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.schema import CLOSED, parsed
from ommx_prefect._shards.shard import Shard
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

RECORD_TYPE = "application/vnd.ommx-prefect.record.v1"
TOMBSTONE_TYPE = "application/vnd.ommx-prefect.tombstone.v1"
# A shard in the config, and one in an annotation.
SHARD_TYPE = "application/vnd.ommx-prefect.shard.v1"
INLINE_SHARD_TYPE = "application/vnd.ommx-prefect.shard.v2"
SHARD_CONFIG_TYPE = "application/vnd.ommx-prefect.shard.config.v1+msgpack"
# Many records in one manifest; see `oci_groups`.
GROUP_TYPE = "application/vnd.ommx-prefect.records.v1"
# All that this release knows; others that begin like them are of a later one.
OUR_TYPES = "application/vnd.ommx-prefect."
TYPES = frozenset({RECORD_TYPE, TOMBSTONE_TYPE, SHARD_TYPE, INLINE_SHARD_TYPE, GROUP_TYPE})
OBJECT_ANNOTATION = "org.ommx-prefect.object"
DOCUMENT_ANNOTATION = "org.ommx-prefect.document"
SHARD_ANNOTATION = "org.ommx-prefect.shard"
GROUP_ANNOTATION = "org.ommx-prefect.records"
# Of a shard that is an annotation; a registry takes manifests of 4 MiB.
MOST_INLINE_BYTES = 64 * 1024
# Of one that has all of its payload in it.
MOST_WHOLE_BYTES = 16 * 1024
# What the OCI image spec puts where a manifest has nothing to say.
EMPTY_BLOB = b"{}"
EMPTY = describe("application/vnd.oci.empty.v1+json", EMPTY_BLOB)


ANNOTATIONS = frozenset(
    {OBJECT_ANNOTATION, DOCUMENT_ANNOTATION, SHARD_ANNOTATION, GROUP_ANNOTATION}
)

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class RecordManifest:
    """A record's manifest, as it is in JSON: these keys and no others, not in other letters."""

    __pydantic_config__ = CLOSED

    schemaVersion: int
    mediaType: str
    artifactType: str
    config: Mapping[str, Any]
    layers: tuple[Mapping[str, Any], ...]
    annotations: Mapping[str, str]


def tag_of(name: str) -> str:
    """Return the tag of an object, `<flow run id>/shards/<key>` as `<flow run id>_shards_<key>`."""
    tag = name.replace("/", "_")
    if "_" in name or _TAG.fullmatch(tag) is None:
        raise DocumentError(f"{name!r} cannot be the name of a record")
    return tag


def name_of(tag: str) -> str:
    """Return the name of the object that has this tag."""
    return tag.replace("_", "/")


def record_manifest(name: str, document: bytes) -> bytes:
    """Write a JSON document as a manifest."""
    return _manifest(name, RECORD_TYPE, EMPTY, [EMPTY], {DOCUMENT_ANNOTATION: document.decode()})


def is_inline(config: bytes) -> bool:
    """Tell whether a shard is small enough to be an annotation."""
    return len(config) <= MOST_INLINE_BYTES


def shard_manifest(name: str, shard: Shard, config: bytes) -> bytes:
    """Write the manifest of a shard whose bytes, signed perhaps, are its config or in it."""
    layers = list(dict.fromkeys(_beside(shard))) or [EMPTY]
    if is_inline(config):
        return inline_manifest(name, INLINE_SHARD_TYPE, SHARD_ANNOTATION, config, layers)
    return _manifest(name, SHARD_TYPE, describe(SHARD_CONFIG_TYPE, config), layers, {})


def inline_manifest(
    name: str,
    artifact_type: str,
    annotation: str,
    data: bytes,
    layers: Sequence[Descriptor] = (EMPTY,),
) -> bytes:
    """Write a manifest that has bytes in an annotation."""
    inline = {annotation: base64.b64encode(data).decode()}
    return _manifest(name, artifact_type, EMPTY, layers, inline)


def tombstone() -> bytes:
    """Write a manifest to which the tags of removed records point, until it is removed."""
    return _manifest(uuid.uuid4().hex, TOMBSTONE_TYPE, EMPTY, [EMPTY], {})


def document_of(name: str, manifest: bytes) -> bytes | Descriptor | None:
    """Return the document in a record's manifest, or the descriptor of a shard's config.

    Returns:
        None where the record is being removed.

    Raises:
        DocumentError: It is no record, or another object's.
        UnknownFormatError: A later release wrote it.
    """
    if _parsed(manifest).artifactType == TOMBSTONE_TYPE:
        return None
    document = parsed_manifest(name, manifest, (RECORD_TYPE, INLINE_SHARD_TYPE, SHARD_TYPE))
    if document.artifactType == SHARD_TYPE:
        return descriptor_of(document.config)
    if document.artifactType == INLINE_SHARD_TYPE:
        return inlined(document, SHARD_ANNOTATION)
    return document.annotations.get(DOCUMENT_ANNOTATION, "").encode()


def parsed_manifest(name: str, manifest: bytes, types: tuple[str, ...]) -> RecordManifest:
    """Read the manifest of an object that is of one of these types.

    Raises:
        DocumentError: It is no record, or another object's.
        UnknownFormatError: A later release wrote it.
    """
    document = _parsed(manifest)
    if document.artifactType not in types:
        raise _refusal_of(document.artifactType, types)
    if document.annotations[OBJECT_ANNOTATION] != name:
        raise DocumentError(f"it is the record of {document.annotations[OBJECT_ANNOTATION]}")
    return document


def _refusal_of(found: str, types: tuple[str, ...]) -> DocumentError:
    """Return the error for a manifest of another type: of a later release, or of another record."""
    said = f"it is of the type {found[:200]!r}, and not {' or '.join(map(repr, types))}"
    if found in TYPES or not found.startswith(OUR_TYPES):
        return DocumentError(said)
    return UnknownFormatError(f"{said}: upgrade ommx_prefect on this host")


def is_record_of(name: str, manifest: bytes) -> bool:
    """Tell whether a manifest is that of an object, or its tombstone."""
    try:
        document = _parsed(manifest)
    except DocumentError:
        return False
    is_own = document.annotations[OBJECT_ANNOTATION] == name
    return is_own or document.artifactType == TOMBSTONE_TYPE


def inlined(document: RecordManifest, annotation: str) -> bytes:
    """Return the bytes that a manifest has in an annotation."""
    if descriptor_of(document.config) != EMPTY:
        raise DocumentError("not a shard: it has a config, and is said to be an annotation")
    try:
        return base64.b64decode(document.annotations.get(annotation, ""), validate=True)
    except binascii.Error as error:
        raise DocumentError(f"not a shard: {error}") from error


def is_shard(manifest: bytes) -> bool:
    """Tell whether a manifest is that of a shard."""
    return _parsed(manifest).artifactType != RECORD_TYPE


def whole_or_bare(shard: Shard) -> Shard:
    """Return a shard with all of its payload in it, if it is small so, or with none."""
    size = sum(map(len, shard.payload.values()))
    is_small = size < MOST_WHOLE_BYTES and not _beside(shard)
    return shard if is_small and len(shard.to_bytes()) <= MOST_WHOLE_BYTES else shard.bare


def _beside(shard: Shard) -> list[Descriptor]:
    """Return the payload of a shard that is not in it."""
    return [layer for layer in payload_of(shard) if layer.digest not in shard.payload]


def check_layers(manifest: bytes, shard: Shard) -> None:
    """Raise DocumentError unless a manifest and its shard have the payload, and nothing else."""
    check_payload(shard, {descriptor_of(layer) for layer in _parsed(manifest).layers})


def check_payload(shard: Shard, layers: Set[Descriptor] = frozenset()) -> None:
    """Raise DocumentError unless payload is in its shard or among these layers, and no other."""
    for layer in payload_of(shard):
        if layer.digest in shard.payload:
            check_blob(layer, shard.payload[layer.digest])
    listed, named = layers - {EMPTY}, set(_beside(shard)) - {EMPTY}
    if listed != named:
        odd = min(layer.digest for layer in listed ^ named)
        raise DocumentError(f"its manifest and its shard disagree about the payload {odd}")


def _parsed(manifest: bytes) -> RecordManifest:
    try:
        document = parsed(RecordManifest, strict_json(manifest, "manifest"))
    except DocumentError as error:
        raise DocumentError(f"it is no record: {error}") from None
    if OBJECT_ANNOTATION not in document.annotations or document.annotations.keys() - ANNOTATIONS:
        raise DocumentError(f"it is no record: its annotations are not {sorted(ANNOTATIONS)}")
    return document


def _manifest(
    name: str,
    artifact_type: str,
    config: Descriptor,
    layers: Sequence[Descriptor],
    annotations: dict[str, str],
) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_MEDIA_TYPE,
        "artifactType": artifact_type,
        "config": config.as_json(),
        "layers": [layer.as_json() for layer in layers],
        "annotations": {OBJECT_ANNOTATION: name, **annotations},
    }
    return json.dumps(document, ensure_ascii=False).encode()
