"""Pack a shard and all payload blobs it names into one object for transport.

A shard archive is a MessagePack map:

    {"format": "application/vnd.ommx-prefect.shard.v1+msgpack",
     "shard": <the bytes of the shard, see `_shards.shard`>,
     "blobs": {"<sha256 in hex>": <bytes>, ...}}

What arrives from elsewhere is believed only as far as its digests go: `open_archive` checks each
blob, the shard's own documents, and whose shard it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from io import BytesIO

import msgpack

from ommx_prefect._format.decode import check_blob, decode, layers_in, manifest_of
from ommx_prefect._format.model import (
    PARAMETERS_MEDIA_TYPE,
    Descriptor,
    Documents,
    RunRecord,
    hex_of,
)
from ommx_prefect._format.output import single_run
from ommx_prefect._shards.digests import unpacked
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

# How a manifest as this package and OMMX write it names a digest; in a text it would be escaped.
_DIGEST_MEMBER = b'"digest":"sha256:'
ARCHIVE_FORMAT = "application/vnd.ommx-prefect.shard.v1+msgpack"
# A shard, and the payload that came with it, by hex digest.
ShardAndPayload = tuple[Shard, Mapping[str, bytes]]


def pack_archive(shard: Shard, pieces_of: Callable[[str], Iterable[bytes]]) -> bytes:
    """Write a shard and its payload; `pieces_of` yields the bytes of a digest."""
    sizes = {layer.digest: layer.size for layer in payload_of(shard)}
    packer = msgpack.Packer()
    parts = ("format", ARCHIVE_FORMAT, "shard", shard.bare.to_bytes(), "blobs")
    head = packer.pack_map_header(3) + b"".join(map(packer.pack, parts))
    head += packer.pack_map_header(len(sizes))
    heads = {x: packer.pack(hex_of(x)) + _bin_header(sizes[x]) for x in sorted(sizes)}
    archive = _with_room(len(head) + sum(map(len, heads.values())) + sum(sizes.values()))
    archive.write(head)
    for digest, own_head in heads.items():
        archive.write(own_head)
        own = shard.payload.get(digest)
        for piece in pieces_of(digest) if own is None else (own,):
            archive.write(piece)
    return archive.getvalue()


def _with_room(size: int) -> BytesIO:
    """Return a buffer that is filled without another copy; `getvalue` gives it away as it is."""
    buffer = BytesIO()
    buffer.seek(size - 1)
    buffer.write(b"\0")
    buffer.seek(0)
    return buffer


def _bin_header(length: int) -> bytes:
    """Write what MessagePack has before so many bytes."""
    for code, size in ((0xC4, 1), (0xC5, 2), (0xC6, 4)):
        if length < 1 << 8 * size:
            return bytes([code]) + length.to_bytes(size, "big")
    raise DocumentError(f"MessagePack takes no payload of {length} bytes")


def open_archive(data: bytes, root_flow_run_id: str, key: str) -> ShardAndPayload:
    """Read a shard archive and check all of it; return the shard, and its blobs by hex digest.

    Args:
        data: The bytes of the archive.
        root_flow_run_id: The flow run that is sealed; a shard of another one is refused.
        key: The name under which the archive was found; it must be the shard's own.

    Raises:
        DocumentError: It is no archive, is damaged or incomplete, or is another's.
        UnknownFormatError: A later release wrote it.
    """
    try:
        document = unpacked(data)
        found, packed, blobs = (document[name] for name in ("format", "shard", "blobs"))
        if found != ARCHIVE_FORMAT:
            raise UnknownFormatError(f"format {found!r} is not {ARCHIVE_FORMAT!r}")
        shard = Shard.from_bytes(packed)
        check_attempt(shard.attempt, root_flow_run_id, key)
        _check_payload(shard, dict(blobs))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"it is no shard archive: {error!r}") from error
    return shard, blobs


def check_attempt(attempt: Attempt, root_flow_run_id: str, key: str) -> None:
    """Raise DocumentError unless an attempt belongs to this flow run and name."""
    found = attempt.root_flow_run_id
    if found != root_flow_run_id:
        raise DocumentError(f"it belongs to flow run {found}, not to {root_flow_run_id}")
    if attempt.key != key:
        raise DocumentError(f"it is the record of {attempt.key}")


def run_of(shard: Shard) -> RunRecord:
    """Return the Run that a shard's Experiment holds.

    Raises:
        DocumentError: It holds more or less than one Run, or is damaged.
    """
    return RunRecord("finished") if shard.documents is None else single_run(shard.documents)


def check_experiment(shard: Shard, *, is_attempt: bool) -> None:
    """Raise DocumentError unless a shard's Experiment can be read; an attempt's is one Run."""
    if is_attempt:
        run_of(shard)
    elif shard.documents is not None:
        decode(shard.documents)


def payload_of(shard: Shard) -> list[Descriptor]:
    """Return the payload layers of a shard: all but its run parameters."""
    return [] if shard.documents is None else payload_layers(shard.documents)


def payload_layers(documents: Documents) -> list[Descriptor]:
    """Return the payload layers of an Experiment: all but its run parameters."""
    layers = layers_in(manifest_of(documents.manifest))
    return [layer for layer in layers if layer.media_type != PARAMETERS_MEDIA_TYPE]


def names_only(documents: Documents, digests: Collection[str]) -> bool:
    """Tell, without parsing, whether an Experiment names this payload and no other.

    In a manifest each layer, the config and a subject have one digest; two of them are never
    payload: the config and the run parameters. False where it cannot be told so.
    """
    named = documents.manifest.count(_DIGEST_MEMBER)
    if not digests or named != len(digests) + 2:
        return False
    return all(_DIGEST_MEMBER + digest[7:].encode() in documents.manifest for digest in digests)


def _check_payload(shard: Shard, blobs: dict[str, bytes]) -> None:
    if shard.documents is not None:
        decode(shard.documents)  # checks the digests of its documents
    named = {hex_of(layer.digest): layer for layer in payload_of(shard)}
    if missing := named.keys() - blobs.keys():
        raise DocumentError(f"it lacks blob {min(missing)}")
    if strange := blobs.keys() - named.keys():
        raise DocumentError(f"it has a blob that its shard does not name: {min(strange)}")
    for name, layer in named.items():
        check_blob(layer, blobs[name])
