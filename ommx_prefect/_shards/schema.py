"""Parse the documents that this package writes: first their format number, then their fields.

A document is the fields of a frozen dataclass, and `format` beside them. Release 0.1.0 wrote no
`format`, which reads as 0. Whoever adds, renames or removes a field raises the number of that
document: a field that its format does not have is refused, never dropped, so that an older host
which meets a newer writer says so instead of sealing half of what was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from ommx_prefect._format.model import INT64, Digest
from ommx_prefect._format.schemas import LONGEST_TEXT, adapter_of
from ommx_prefect._format.strict_json import strict_json
from ommx_prefect._shards.digests import (
    DIGEST_KEY,
    FIRST_DOCUMENT_FORMAT,
    check_digest,
    with_digest,
)
from ommx_prefect._shards.names import FlowRunId, RecordKey
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

T = TypeVar("T")

FORMAT_KEY = "format"
# The key of `root_flow_run_id` in every document, as release 0.1.0 wrote it.
ROOT_FLOW_RUN_KEY = "owner"
# The format of a document that says none.
RELEASE_0_1_0 = 0
# A shared document is no larger: a text among its parameters has 1,000 characters at most.
MOST_SHARED_BYTES = 16 * 2**20
# Nor has it more values: pydantic takes a kilobyte for each that is wrong.
MOST_SHARED_VALUES = 100_000
# `__pydantic_config__` of a document: it has no other fields than those of its dataclass.
CLOSED = ConfigDict(extra="forbid")


def _is(kind: Callable[[str], object]) -> AfterValidator:
    """Return a pydantic validator that parses a text and keeps it as plain text."""

    def check(text: str) -> str:
        kind(text)
        return text

    return AfterValidator(check)


# Fields that are what they are called (see `names` and `Digest`).
Key = Annotated[str, _is(RecordKey)]
PrefectId = Annotated[str, _is(FlowRunId)]
RootId = Annotated[PrefectId, Field(alias=ROOT_FLOW_RUN_KEY)]
# Of something that may not be there: empty then.
OtherId = Annotated[str, _is(lambda text: text and FlowRunId(text))]
ContentDigest = Annotated[str, _is(Digest)]
# Texts of a stated length: of a name, which may be made of a whole table, and of one word.
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Word = Annotated[str, Field(max_length=300)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
# Seconds since the epoch, of a year with four digits.
Seconds = Annotated[float, Field(ge=0, le=253402300799, allow_inf_nan=False)]
Status = Annotated[str, Field(pattern="^(?:finished|failed|interrupted)$")]


def _storable(values: Mapping[str, object]) -> Mapping[str, object]:
    for name, value in values.items():
        if isinstance(value, int) and value not in INT64:
            raise ValueError(f"{name[:100]!r} is an integer beyond 64 bits")
    return values


# Values by name. Those of users may be NaN or infinite.
Scalars = Mapping[Text, bool | int | float | Text]
# Those that become run parameters.
Columns = Annotated[Scalars, AfterValidator(_storable)]


def stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass under the keys that its document has."""
    return {ROOT_FLOW_RUN_KEY if x == "root_flow_run_id" else x: fields[x] for x in fields}


def to_document(fields: Mapping[str, Any], number: int, name: str) -> bytes:
    """Write the fields of a document as JSON, with the number of its format, and its digest.

    Args:
        fields: Its fields.
        number: The number of its format.
        name: Whose it is and what, `<flow run id>/flow.json`.
    """
    return with_digest(json.dumps({FORMAT_KEY: number, **fields}).encode(), name)


def fields_of(
    data: bytes, newest: int, name: str | None = None, *, shared: bool = False
) -> dict[str, Any]:
    """Read the fields of a JSON document of which formats up to `newest` are known.

    Args:
        data: The document.
        newest: The newest format that this release reads.
        name: As for `to_document`; None for a document that has no digest in itself.
        shared: Whether other hosts may have written it: parsed it may be twenty times as large.

    Raises:
        DocumentError: It is no document, or not the one that was written under the name.
        UnknownFormatError: A later release wrote it.
    """
    if shared and len(data) > MOST_SHARED_BYTES:
        raise DocumentError(f"it has more than {MOST_SHARED_BYTES:,} bytes")
    if not data.startswith(b"{"):  # so that what is none, however large, is copied nowhere
        raise DocumentError("it is no JSON object")
    document: dict[str, Any] = strict_json(data, "document", non_finite=True)
    if shared and len(data) > MOST_SHARED_VALUES:  # each has a byte of its own
        _check_values(document)
    number = check_format(document.pop(FORMAT_KEY, RELEASE_0_1_0), newest)
    if name is not None and number >= FIRST_DOCUMENT_FORMAT:
        check_digest(data, name)
        del document[DIGEST_KEY]
    return document


def _check_values(document: dict[str, Any]) -> None:
    left = MOST_SHARED_VALUES
    waiting: list[Any] = [document]
    while waiting:
        each = waiting.pop()
        if (left := left - len(each)) < 0:
            raise DocumentError(f"it has more than {MOST_SHARED_VALUES:,} values")
        values = each.values() if isinstance(each, dict) else each
        waiting += [x for x in values if isinstance(x, (dict, list))]


def check_format(found: object, newest: int) -> int:
    """Return the format of a document; raise unless it is one that this release can read."""
    if not isinstance(found, int) or isinstance(found, bool) or found < RELEASE_0_1_0:
        raise DocumentError(f"its format is {repr(found)[:100]}, and no number")
    if found > newest:
        raise UnknownFormatError(
            f"it has format {found}, and this release of ommx_prefect reads up to {newest}: "
            "upgrade ommx_prefect on this host"
        )
    return found


def parsed(schema: type[T], fields: Mapping[str, Any]) -> T:
    """Return the fields of a document as its dataclass; nothing is converted.

    Raises:
        DocumentError: A field has another type, is missing, or is unknown. It is named.
    """
    try:
        found: T = adapter_of(cast("Hashable", schema)).validate_json(
            json.dumps(fields), strict=True
        )
        return found
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"]))[:200] or schema.__name__
        raise DocumentError(f"its field {field!r} is wrong: {first['msg'][:300]}") from None
