"""Write and read the record of an attempt that has begun."""

from __future__ import annotations

from ommx_prefect._shards.archive import check_attempt
from ommx_prefect._shards.schema import fields_of, parsed, stored, to_document
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import KINDS, STARTS

_FORMAT = KINDS[STARTS].format


def start_document(attempt: Attempt) -> bytes:
    """Write the record of an attempt that has begun."""
    name = _name(attempt.root_flow_run_id, attempt.key)
    return to_document(stored(vars(attempt)), _FORMAT, name)


def read_start(data: bytes, root_flow_run_id: str, key: str) -> Attempt:
    """Read the record of an attempt that has begun; DocumentError where it is another's."""
    name = _name(root_flow_run_id, key)
    attempt = parsed(Attempt, fields_of(data, _FORMAT, name, shared=True))
    check_attempt(attempt, root_flow_run_id, key)
    return attempt


def _name(root_flow_run_id: str, key: str) -> str:
    return f"{root_flow_run_id}/{STARTS}/{key}"
