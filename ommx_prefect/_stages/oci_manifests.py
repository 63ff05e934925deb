"""Write each record of a stage as an OCI manifest.

A shard is a manifest whose layers are its payload, as OMMX describes it, and whose config is the
shard itself (see _shards), with the documents of its Experiment. So the registry keeps the payload
for it, and whoever composes needs to fetch its manifest and its config only.

Any other record is a small JSON document. It is an annotation of a manifest that has nothing else,
so one request writes it, and one reads it.

Every manifest names its object, so no two of them are the same, and none is an Experiment's own:
deleting one by its digest takes nothing else away.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ommx_prefect._format.decode import descriptor_of, parse_json
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor, describe
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.schema import CLOSED, parsed
from ommx_prefect._shards.shard import Shard
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

RECORD_TYPE = "application/vnd.ommx-prefect.record.v1"
TOMBSTONE_TYPE = "application/vnd.ommx-prefect.tombstone.v1"
SHARD_TYPE = "application/vnd.ommx-prefect.shard.v1"
SHARD_CONFIG_TYPE = "application/vnd.ommx-prefect.shard.config.v1+msgpack"
OBJECT_ANNOTATION = "org.ommx-prefect.object"
DOCUMENT_ANNOTATION = "org.ommx-prefect.document"
# What the OCI image spec puts where a manifest has nothing to say.
EMPTY_BLOB = b"{}"
EMPTY = describe("application/vnd.oci.empty.v1+json", EMPTY_BLOB)


ANNOTATIONS = frozenset({OBJECT_ANNOTATION, DOCUMENT_ANNOTATION})

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
    """Return the tag of an object, `<owner>/shards/<key>` as `<owner>_shards_<key>`."""
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


def shard_manifest(name: str, shard: Shard, config: bytes) -> bytes:
    """Write the manifest of a shard whose bytes, signed perhaps, are its config."""
    layers = list(dict.fromkeys(payload_of(shard))) or [EMPTY]
    return _manifest(name, SHARD_TYPE, describe(SHARD_CONFIG_TYPE, config), layers, {})


def tombstone() -> bytes:
    """Write a manifest to which the tags of removed records point, until it is removed."""
    return _manifest(uuid.uuid4().hex, TOMBSTONE_TYPE, EMPTY, [EMPTY], {})


def document_of(name: str, manifest: bytes) -> bytes | Descriptor | None:
    """Return the document that a record's manifest holds, or where a shard's config is.

    Returns:
        None where the record is being removed.

    Raises:
        DocumentError: It is no record, or another object's.
        UnknownFormatError: A later release wrote it.
    """
    document = _parsed(manifest)
    annotations, found = document.annotations, document.artifactType
    if found == TOMBSTONE_TYPE:
        return None
    if found not in (RECORD_TYPE, SHARD_TYPE):
        raise UnknownFormatError(f"{found!r} is neither {RECORD_TYPE!r} nor {SHARD_TYPE!r}")
    if annotations[OBJECT_ANNOTATION] != name:
        raise DocumentError(f"it is the record of {annotations[OBJECT_ANNOTATION]}")
    if found == SHARD_TYPE:
        return descriptor_of(document.config)
    return annotations.get(DOCUMENT_ANNOTATION, "").encode()


def check_layers(manifest: bytes, shard: Shard) -> None:
    """Raise DocumentError unless a manifest lists the payload of its shard, and nothing else."""
    listed = {descriptor_of(layer) for layer in _parsed(manifest).layers} - {EMPTY}
    named = set(payload_of(shard)) - {EMPTY}
    if listed != named:
        odd = min(layer.digest for layer in listed ^ named)
        raise DocumentError(f"its manifest and its shard disagree about the payload {odd}")


def _parsed(manifest: bytes) -> RecordManifest:
    try:
        document = parsed(RecordManifest, parse_json(manifest, "manifest"))
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
