"""A digest over a whole record, by which any changed bit is detected.

It is the last member of the record (see `last_member`). That of a JSON document is over its name,
too: some say with it what they say. It shows damage; whoever means harm can compute it (see
`_stages.signing`).
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack

from ommx_prefect._shards.last_member import SMALL_MAP, LastMember
from ommx_prefect.exceptions import DocumentError

DIGEST_KEY = "digest"
# Formats from which on documents, and shards, have one; release 0.1.0 wrote none.
FIRST_DOCUMENT_FORMAT, FIRST_SHARD_FORMAT = 2, 3
# What lists and maps of a record may hold in all. One byte of MessagePack may be a map of 64, and
# pydantic takes a kilobyte for each value that is wrong.
MOST_MEMBERS = 200_000

_DIGEST = LastMember(DIGEST_KEY, "sha256")
_DAMAGED = "its digest is another"


def with_digest(document: bytes, name: str) -> bytes:
    """Return a JSON object with its digest."""
    return _DIGEST.in_json(document, _digest_of(document, name))


def check_digest(data: bytes, name: str) -> None:
    """Raise DocumentError unless a JSON object agrees with its name and digest."""
    document, found = _DIGEST.split_json(data)
    if found != _digest_of(document, name):
        raise DocumentError(f"its bytes are not those that were written as {name}: {_DAMAGED}")


def packed_with_digest(packed: bytes) -> bytes:
    """Return a small map of MessagePack with its digest."""
    return _DIGEST.in_map(packed, hashlib.sha256(packed).digest())


def unpacked(data: bytes) -> Any:
    """Read a small map of MessagePack; other bytes are refused before they are parsed or copied.

    Raises:
        ValueError: It is none, or something follows it.
    """
    if not data or data[0] not in SMALL_MAP:
        raise ValueError("it is no map of MessagePack")
    try:
        return bounded(data)
    except msgpack.ExtraData as error:  # which holds all that follows
        error.extra, error.args = b"", ()
        raise ValueError("something follows it") from None


def bounded(data: bytes, *, strict_map_key: bool = True) -> Any:
    """Read MessagePack of a bounded number of members; ValueError where it has more."""
    left = MOST_MEMBERS
    if len(data) <= left:  # each has a byte of its own
        return msgpack.unpackb(data, strict_map_key=strict_map_key)

    def counted(found: Any) -> Any:
        nonlocal left
        left -= 1 + len(found)
        if left < 0:
            raise ValueError(f"it has more than {MOST_MEMBERS:,} members")
        return found

    return msgpack.unpackb(
        data,
        strict_map_key=strict_map_key,
        list_hook=counted,
        object_hook=counted,
        max_array_len=MOST_MEMBERS,
        max_map_len=MOST_MEMBERS,
    )


def check_packed_digest(data: bytes) -> None:
    """Raise DocumentError unless a small map of MessagePack agrees with its digest."""
    packed, found = _DIGEST.split_map(data)
    if not found:
        raise DocumentError(f"it has no digest at its end: {_DAMAGED}")
    if found != hashlib.sha256(packed).digest():
        raise DocumentError(f"its bytes are not those that were written: {_DAMAGED}")


def _digest_of(document: bytes, name: str) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + document).digest()
