"""Write and read the record of an attempt that has begun."""

from __future__ import annotations

from ommx_prefect._shards.archive import check_attempt
from ommx_prefect._shards.schema import fields_of, parsed, to_document
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import KINDS, STARTS

_FORMAT = KINDS[STARTS].format


def start_document(attempt: Attempt) -> bytes:
    """Write the record of an attempt that has begun."""
    return to_document(vars(attempt), _FORMAT, _name(attempt.owner, attempt.key))


def read_start(data: bytes, owner: str, key: str) -> Attempt:
    """Read the record of an attempt that has begun; DocumentError where it is another's."""
    attempt = parsed(Attempt, fields_of(data, _FORMAT, _name(owner, key)))
    check_attempt(attempt, owner, key)
    return attempt


def _name(owner: str, key: str) -> str:
    return f"{owner}/{STARTS}/{key}"
