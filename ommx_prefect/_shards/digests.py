"""A digest over a whole record, by which any changed bit is detected.

It is the last member of the record, so that it is about bytes and not about what a parser makes of
them. That of a JSON document is over its name, too: some say with it what they say. It shows
damage; whoever means harm can compute it (see `_stages.signing`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack

from ommx_prefect.exceptions import DocumentError

DIGEST_KEY = "digest"
# Formats from which on documents, and shards, have one; release 0.1.0 wrote none.
FIRST_DOCUMENT_FORMAT, FIRST_SHARD_FORMAT = 2, 3

_JSON = b', "digest": "sha256:%b"}'
_JSON_LENGTH = len(_JSON % bytes(64))
# A key of MessagePack, and what announces 32 bytes.
_PACKED = bytes(msgpack.packb(DIGEST_KEY)) + b"\xc4\x20"
_PACKED_LENGTH = len(_PACKED) + 32
# A map of MessagePack with up to 15 members begins with one byte that counts them.
_SMALL_MAP = range(0x80, 0x90)


def with_digest(document: bytes, name: str) -> bytes:
    """Return a JSON object with its digest."""
    return document[:-1] + _JSON % _hex(document, name)


def check_digest(data: bytes, name: str) -> None:
    """Raise DocumentError unless a JSON object is what was written under its name."""
    document = data[:-_JSON_LENGTH] + b"}"
    if data[-_JSON_LENGTH:] != _JSON % _hex(document, name):
        raise DocumentError(f"its bytes are not those that were written as {name}: {_DAMAGED}")


def packed_with_digest(packed: bytes) -> bytes:
    """Return a small map of MessagePack with its digest."""
    return bytes([packed[0] + 1]) + packed[1:] + _PACKED + hashlib.sha256(packed).digest()


def unpacked(data: bytes) -> Any:
    """Read a small map of MessagePack; what is none is not read at all, and copied nowhere.

    Raises:
        ValueError: It is none, or something follows it.
    """
    if not data or data[0] not in _SMALL_MAP:
        raise ValueError("it is no map of MessagePack")
    try:
        return msgpack.unpackb(data)
    except msgpack.ExtraData as error:  # which holds all that follows
        error.extra = b""
        raise ValueError("something follows it") from None


def check_packed_digest(data: bytes) -> None:
    """Raise DocumentError unless a small map of MessagePack is what was written."""
    if not data or data[0] not in _SMALL_MAP or data[-_PACKED_LENGTH:][:-32] != _PACKED:
        raise DocumentError(f"it has no digest at its end: {_DAMAGED}")
    packed = bytes([data[0] - 1]) + data[1:-_PACKED_LENGTH]
    if hashlib.sha256(packed).digest() != data[-32:]:
        raise DocumentError(f"its bytes are not those that were written: {_DAMAGED}")


_DAMAGED = "its digest is another"


def _hex(document: bytes, name: str) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + document).hexdigest().encode()
