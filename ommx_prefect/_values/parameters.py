"""Which arguments become run parameters, and how they are written."""

from __future__ import annotations

import datetime
import enum
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from ommx_prefect._format.model import Scalar
from ommx_prefect._values.secrets import is_secret, is_secret_name

# Python type -> how it is written as a run parameter.
WRITTEN_AS_TEXT: tuple[type, ...] = (
    PurePath,
    uuid.UUID,
    datetime.datetime,
    datetime.date,
    datetime.time,
)

LONGEST_TEXT = 1_000
INT64 = range(-(2**63), 2**63)


def as_parameter(value: object) -> Scalar | None:
    """Return a value as OMMX takes it for a run parameter, or None where it is no scalar.

    numpy scalars and enums become Python's; paths, dates and UUIDs become text, and durations
    seconds.

    Raises:
        ValueError: It is a scalar that cannot be stored: an integer beyond 64 bits, or text
            longer than 1,000 characters.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if (numpy := sys.modules.get("numpy")) and isinstance(value, numpy.generic):
        value = _plain_scalar(value, numpy)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, WRITTEN_AS_TEXT):
        value = value.isoformat() if hasattr(value, "isoformat") else str(value)
    if isinstance(value, str):
        return _checked_text(str(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return _checked_int(int(value))
    if isinstance(value, float):
        return float(value)  # a subclass is no column type of OMMX
    return value if isinstance(value, bool) else None


def scalars(
    arguments: Mapping[str, Any], wanted: bool | Collection[str]
) -> Iterator[tuple[str, Scalar | Exception]]:
    """Yield the arguments that are recorded, or the reason why one cannot be."""
    for name, value in arguments.items():
        if wanted is False or (wanted is not True and name not in wanted):
            continue
        try:
            scalar = None if is_secret_name(name) or is_secret(value) else as_parameter(value)
        except Exception as error:  # an object of the user's may raise whatever it is asked
            yield name, error
            continue
        if scalar is not None:
            yield name, scalar


def storable(text: str) -> str:
    """Return the text as UTF-8 can hold it: odd bytes of file names are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain_scalar(value: Any, numpy: Any) -> object:
    # item() gives an integer for dates and durations in nanoseconds.
    if isinstance(value, numpy.datetime64):
        return str(value)
    if isinstance(value, numpy.timedelta64):
        return float(value / numpy.timedelta64(1, "s"))
    return value.item()


def _checked_text(text: str) -> str:
    text = storable(text)
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it has {len(text)} characters, more than {LONGEST_TEXT}")
    return text


def _checked_int(value: int) -> int:
    if value not in INT64:
        raise ValueError("it is an integer beyond 64 bits, which OMMX cannot store")
    return value
