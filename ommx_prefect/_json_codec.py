"""How values become JSON that plain `ommx` reads back, without secrets and without loss of keys."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from ommx_prefect._inputs import REDACTED, is_secret

MEDIA_TYPE = "application/json"
DEEPEST = 200

# Types that are written as their text.
AS_TEXT: tuple[type, ...] = (uuid.UUID, decimal.Decimal)
SCALARS: tuple[type, ...] = (str, int, float, bool, type(None))


class JsonCodec:
    """`application/json`: scalars, containers, dataclasses, pydantic models, enums, dates.

    NaN and infinities are written as Python's json does. Sets are sorted. Secrets anywhere inside
    become `**redacted**`. `decode` returns plain JSON.
    """

    media_type = MEDIA_TYPE

    @staticmethod
    def accepts(value: object) -> bool:
        """Tell whether a value may be JSON; `encode` has the last word on what is inside."""
        dates = (datetime.date, datetime.time, datetime.timedelta)  # a datetime is a date
        kinds = (*SCALARS, *AS_TEXT, *dates, enum.Enum)
        containers = (dict, list, tuple, set, frozenset)
        return isinstance(value, kinds + containers) or _is_record(value) or _is_numpy(value)

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a value as JSON.

        Raises:
            TypeError: Something inside is no JSON, or two keys would become one.
            ValueError: It contains itself, or is nested too deeply.
        """
        return json.dumps(_plain(value, 0), ensure_ascii=False).encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read JSON."""
        return json.loads(data)


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"it contains itself, or is nested deeper than {DEEPEST} levels")
    if is_secret(value):
        return REDACTED
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth + 1)
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping):
        return _plain_mapping(value, depth)
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item, depth + 1) for item in value), key=json.dumps)
    return _plain_object(value, depth)


def _plain_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, SCALARS):
            raise TypeError(f"key {key!r} is {type(key).__name__}, which JSON does not know")
        # json.dumps turns the other scalars into text: 1 -> "1", None -> "null".
        text = key if isinstance(key, str) else json.dumps(key)
        if text in plain:
            raise TypeError(f"two keys would become {text!r}")
        plain[text] = _plain(item, depth + 1)
    return plain


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, AS_TEXT):
        return str(value)
    if _is_numpy(value):
        return _plain(value.item(), depth + 1)
    if _is_record(value):
        return _plain_mapping(_fields(value), depth)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _fields(value: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # Field by field, not model_dump: a secret or a Block inside must be seen as what it is.
    return {name: getattr(value, name) for name in type(value).model_fields}


def _is_record(value: object) -> bool:
    if isinstance(value, type):
        return False
    pydantic = sys.modules.get("pydantic")
    model = pydantic is not None and isinstance(value, pydantic.BaseModel)
    return dataclasses.is_dataclass(value) or (model and not is_secret(value))


def _is_numpy(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.generic)
