"""Ids of flow runs as people write them: a UUID in any of its usual spellings."""

from __future__ import annotations

from uuid import UUID

from ommx_prefect.exceptions import InvalidFlowRunIdError


def parse_flow_run_id(given: object) -> str:
    """Return an id of Prefect's in the spelling of Prefect: lower-case hex digits with dashes.

    Args:
        given: A UUID, or its text: with or without dashes, in capitals, in braces, or as a URN.

    Raises:
        InvalidFlowRunIdError: It is none.
    """
    if isinstance(given, UUID):
        return str(given)
    try:
        return str(UUID(str(given).strip()))
    except ValueError as error:
        raise InvalidFlowRunIdError(str(given)) from error
