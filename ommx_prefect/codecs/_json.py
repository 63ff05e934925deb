"""The JSON codec: JSON that plain `ommx` reads back, deterministic and without secrets."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from itertools import chain
from types import NoneType
from typing import Any
from uuid import UUID

import numpy as np

from ommx_prefect._pickling import OMMX_ENUMS
from ommx_prefect._values.members import (
    fields_of,
    instance_of,
    is_dataclass_instance,
    is_model,
    members_of,
)
from ommx_prefect._values.secrets import REDACTED, is_secret

MAX_DEPTH = 32


def _no_other_codec(value: Any) -> str | None:
    return None


# Names the codec that takes a value before JSON does; the registry puts its own look-up here.
name_other_codec: Callable[[Any], str | None] = _no_other_codec

is_prefect_state = instance_of("prefect.client.schemas.objects", "State")


def _seconds(value: np.timedelta64) -> float:
    return float(value / np.timedelta64(1, "s"))


def _member_name(value: Any) -> str:
    return repr(value).rpartition(".")[2]


_PLAIN = frozenset({str, int, float, bool, NoneType})
PLAIN_TYPES = _PLAIN | {dict, list, tuple}
# The first row that fits decides: np.float64 is a float, np.timedelta64 an np.integer.
_LEAVES: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((Enum,), lambda value: _plain(value.value)),
    ((str, int, float), lambda value: value),
    ((dt.datetime, dt.date, dt.time), lambda value: value.isoformat()),
    ((dt.timedelta,), dt.timedelta.total_seconds),
    ((UUID, Decimal, np.datetime64), str),
    ((np.timedelta64,), _seconds),
    ((np.bool_,), bool),
    ((np.integer,), int),
    ((np.floating,), float),
    (OMMX_ENUMS, _member_name),
)
_JSON_TYPES = (
    *(kind for kinds, _ in _LEAVES for kind in kinds),
    *(NoneType, dict, list, tuple, set, frozenset),
)


def state_facts(state: Any) -> dict[str, str | None]:
    """Return what is stored of a Prefect State; never its data."""
    return {"type": state.type.value, "name": state.name, "message": state.message}


class JsonCodec:
    """JSON, written as `json.dumps` writes it: `application/json`, read with `get_json`.

    Takes what JSON knows, and: tuple (list), set and frozenset (sorted list), dataclass instance
    and pydantic model (object), Enum (its value), OMMX enum (its name), date and time (ISO 8601),
    timedelta (seconds), UUID and Decimal (text), NumPy bool, integer and float. NaN and infinities
    are written as Python reads them. A secret is replaced by `REDACTED`; a pydantic model that
    holds one is written field by field, as its own serializers could reveal it.

    `encode` raises `TypeError` for anything else, and `ValueError` for two keys that JSON cannot
    tell apart, for a value that contains itself, and for more than 32 levels.
    """

    media_type = "application/json"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a JSON-able value."""
        return json.dumps(value if _is_plain(value) else _plain(value)).encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode to plain dict, list, str, int, float, bool and None."""
        return json.loads(data)


def takes_json(value: Any) -> bool:
    if isinstance(value, _JSON_TYPES) or is_secret(value):
        return True
    return is_model(value) or is_dataclass_instance(value)


def _is_plain(value: Any) -> bool:
    """Tell whether `json` writes a value as it stands; level by level, without a loop in Python.

    What is not just so (keys that are no texts, a type that inherits from another, a value that
    contains itself or is nested too deep) is left to the walk that converts or refuses it.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, level))
        if not kinds <= PLAIN_TYPES:
            return False
        if kinds <= _PLAIN:
            return True
        dicts = [x for x in level if type(x) is dict] if kinds - {dict} else level
        if not set(map(type, chain.from_iterable(dicts))) <= {str}:
            return False
        lists = [x for x in level if type(x) in (list, tuple)] if kinds != {dict} else []
        level = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(lists)]
    return False


def _plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Rebuild a value of what `json` knows; `above` holds the ids of the values around it."""
    if type(value) in _PLAIN:
        return value
    if is_secret(value):
        return REDACTED
    for types, convert in _LEAVES:
        if isinstance(value, types):
            return convert(value)
    check_nesting(value, above)
    return _plain_members(value, (*above, id(value)))


def _plain_members(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, dict):
        return _plain_dict(value, above)
    if isinstance(value, (list, tuple)):
        return _plain_list(value, above)
    if isinstance(value, (set, frozenset)):
        return _in_order(_plain_list(value, above))
    if is_prefect_state(value):
        return state_facts(value)
    if len(above) > 1 and (other := name_other_codec(value)):  # so that the container is split
        raise TypeError(f"{type_name(value)} has its own codec, {other}")
    if is_model(value) and not any(map(_needs_own_walk, _within(value))):
        return value.model_dump(mode="json", warnings=False)
    fields = fields_of(value)
    if fields is None:
        raise TypeError(f"JSON takes no {type_name(value)}")
    root = getattr(type(value), "__pydantic_root_model__", False)
    return _plain(fields["root"], above) if root else _plain_dict(fields, above)


def _plain_list(value: Any, above: tuple[int, ...]) -> list[Any]:
    if _PLAIN.issuperset(map(type, value)):
        return list(value)
    return [_plain(item, above) for item in value]


def _plain_dict(value: dict[Any, Any], above: tuple[int, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        text = _key(key)
        if text in result:
            raise ValueError(f"two keys of a dict both become {text!r} in JSON")
        result[text] = _plain(item, above)
    return result


def _key(key: Any) -> str:
    """Give the text that `json.dumps` makes of a key."""
    plain = None if key is None else _plain(key) if isinstance(key, _KEYS) else key
    if type(plain) is str:
        return plain
    if not (plain is None or isinstance(plain, (str, int, float))):
        raise TypeError(f"JSON takes no {type_name(key)} as a key")
    text: str = next(iter(json.loads(json.dumps({plain: 0}))))
    return text


_KEYS = (Enum, str, int, float, np.bool_, np.integer, np.floating)


def _in_order(items: list[Any]) -> list[Any]:
    """Sort members of a set: by value where they compare, else by their JSON text."""
    by_text = sorted(items, key=json.dumps)
    try:
        return sorted(by_text)
    except TypeError:
        return by_text


def _within(value: Any) -> Iterator[Any]:
    """Yield a value and everything that it holds, excluded and private fields of models too."""
    seen: set[int] = set()
    found = [value]
    while found:
        item = found.pop()
        if id(item) not in seen:
            seen.add(id(item))
            yield item
            found.extend(member for _, member in members_of(item))


def _needs_own_walk(value: Any) -> bool:
    """Tell what `model_dump` may reveal, order by hash, or lose (keys 1 and "1")."""
    if isinstance(value, dict):
        return not all(isinstance(key, str) for key in value)
    return is_secret(value) or isinstance(value, (set, frozenset)) or is_prefect_state(value)


def check_nesting(value: Any, above: tuple[int, ...]) -> None:
    if id(value) in above:
        raise ValueError(f"a {type_name(value)} contains itself")
    if len(above) >= MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def type_name(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return prefix + kind.__qualname__
