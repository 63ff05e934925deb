"""Choose which arguments become run parameters, and convert them."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import inspect
import math
import numbers
import sys
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from ommx_prefect._format.model import INT64, Scalar
from ommx_prefect._values.secrets import is_secret, is_secret_name

# Python type -> how it is written as a run parameter.
WRITTEN_AS_TEXT: tuple[type, ...] = (
    PurePath,
    uuid.UUID,
    datetime.datetime,
    datetime.date,
    datetime.time,
)

# What is a number, and neither Python's nor of a type that its numbers inherit.
OTHER_NUMBERS = (numbers.Real, decimal.Decimal)
LONGEST_TEXT = 1_000


def as_parameter(value: object) -> Scalar | None:
    """Return a value as OMMX takes it for a run parameter, or None where it is no scalar.

    numpy scalars, arrays without dimensions and enums become Python's; other numbers (Decimal,
    Fraction) become floats; paths, dates and UUIDs become text, and durations seconds.

    Raises:
        ValueError: It is a scalar that cannot be stored: an integer beyond 64 bits, a number
            beyond the floats or not on their line, or text longer than 1,000 characters.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    value = as_number(value)
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
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        raise ValueError(f"it is a number of type {type(value).__name__}, which OMMX cannot store")
    return value if isinstance(value, bool) else None


def as_number(value: object) -> object:
    """Return a number of numpy or another library as Python's own; other values unchanged.

    Raises:
        ValueError: It is beyond the floats.
    """
    if (numpy := sys.modules.get("numpy")) and isinstance(value, (numpy.generic, numpy.ndarray)):
        value = _plain_scalar(value, numpy)
    is_plain = isinstance(value, (int, float))
    return _as_float(value) if isinstance(value, OTHER_NUMBERS) and not is_plain else value


def _as_float(value: Any) -> float:
    with contextlib.suppress(OverflowError):
        number = float(value)
        if not math.isinf(number) or number == value:
            return number
    raise ValueError("it is a number beyond the floats, which OMMX cannot store")


def scalars(
    arguments: Mapping[str, Any], wanted: bool | Collection[str], keywords: str | None = None
) -> Iterator[tuple[str, Scalar | Exception]]:
    """Yield the arguments that are recorded, or the reason why one cannot be.

    What is no scalar is passed over, unless it is asked for by its name.

    Args:
        arguments: The call's arguments by name.
        wanted: All, none, or those named.
        keywords: Which of them holds the keywords beside (`**keywords`): each is an argument.
    """
    for name, value, is_wanted in _spread(arguments, wanted, keywords):
        if not is_wanted:
            continue
        try:
            if is_secret_name(name) or is_secret(value):
                continue
            scalar = as_parameter(value)
        except Exception as error:  # an object of the user's may raise whatever it is asked
            yield name, error
            continue
        if scalar is not None:
            yield name, scalar
        elif wanted is not True and value is not None:
            yield (
                name,
                ValueError(
                    f"it is of type {type(value).__name__}, and parameters are numbers and text; "
                    "log it in the task, by log_json, log_instance, ... of current_run()"
                ),
            )


def keywords_of(fn: Callable[..., Any]) -> str | None:
    """Return the name of the argument that holds those of `**keywords`, where a function has it."""
    with contextlib.suppress(TypeError, ValueError):  # a builtin that tells no signature
        for parameter in inspect.signature(fn).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                return parameter.name
    return None


def _spread(
    arguments: Mapping[str, Any], wanted: bool | Collection[str], keywords: str | None
) -> Iterator[tuple[str, Any, bool]]:
    """Yield names, values, and whether they are wanted, by their own name or by `**keywords`."""
    names = arguments.keys() if wanted is True else wanted or ()
    for name, value in arguments.items():
        if name != keywords or not isinstance(value, Mapping):
            yield name, value, name in names
            continue
        for keyword, one in value.items():
            # A parameter that is positional only may have the name of a keyword.
            shown = f"{name}.{keyword}" if keyword in arguments else keyword
            yield shown, one, name in names or keyword in names


def storable(text: str) -> str:
    """Return the text as UTF-8 can hold it: odd bytes of file names are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain_scalar(value: Any, numpy: Any) -> object:
    if value.ndim:
        return value
    if isinstance(value, numpy.ndarray):
        value = value[()]
    # item() gives an integer for dates and durations in nanoseconds.
    if isinstance(value, numpy.datetime64):
        return str(value)
    if isinstance(value, numpy.timedelta64):
        return float(value / numpy.timedelta64(1, "s"))
    return value.item() if isinstance(value, numpy.generic) else value


def _checked_text(text: str) -> str:
    text = storable(text)
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it has {len(text)} characters, more than {LONGEST_TEXT}")
    return text


def _checked_int(value: int) -> int:
    if value not in INT64:
        raise ValueError("it is an integer beyond 64 bits, which OMMX cannot store")
    return value
