"""The JSON codec: JSON that plain `ommx` reads back, deterministic and without secrets."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Collection
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
from ommx_prefect.codecs._registry import PLAIN_TYPES, registry, type_name
from ommx_prefect.codecs._size import Budget, are_few_objects, size_written

MAX_DEPTH = 32


is_prefect_state = instance_of("prefect.client.schemas.objects", "State")


def _seconds(value: np.timedelta64) -> float:
    return float(value / np.timedelta64(1, "s"))


def _member_name(value: Any) -> str:
    return repr(value).rpartition(".")[2]


_PLAIN = PLAIN_TYPES - {dict, list, tuple}
# The first row that fits decides: np.float64 is a float, np.timedelta64 an np.integer. Of an Enum,
# which may be a str as well, the value is converted before.
_LEAVES: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
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
    *(Enum, NoneType, dict, list, tuple, set, frozenset),
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
    tell apart, for a value that contains itself, for more than 32 levels, and
    (`TooManyValuesError`) for more than 20 million values: a part that is held twice counts twice.
    """

    media_type = "application/json"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a JSON-able value."""
        return json.dumps(value if _is_plain(value) else _plain(value, Budget())).encode()

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
    contains itself, is nested too deep, or is a few objects met a million times) is left to the
    walk that converts or refuses it.
    """
    level, budget = [value], Budget()
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, level))
        if not kinds <= PLAIN_TYPES:
            return False
        if kinds <= _PLAIN:
            return True
        dicts = [x for x in level if type(x) is dict] if kinds - {dict} else level
        lists = [x for x in level if type(x) in (list, tuple)] if kinds != {dict} else []
        budget.spend(sum(map(len, dicts)) + sum(map(len, lists)))  # before they are put together
        if are_few_objects(dicts, lists):
            return False
        if not set(map(type, chain.from_iterable(dicts))) <= {str}:
            return False
        level = [*chain.from_iterable(map(dict.values, dicts)), *chain.from_iterable(lists)]
    return False


def _plain(value: Any, budget: Budget, above: tuple[int, ...] = ()) -> Any:
    """Rebuild a value of what `json` knows; `above` holds the ids of the values around it."""
    if type(value) in _PLAIN:
        return value
    if is_secret(value):
        return REDACTED
    if isinstance(value, Enum):
        return _plain(value.value, budget, above)
    for types, convert in _LEAVES:
        if isinstance(value, types):
            return convert(value)
    check_nesting(value, above)
    around = (*above, id(value))
    return budget.once(value, len(above), lambda: _plain_members(value, budget, around))


def _plain_members(value: Any, budget: Budget, above: tuple[int, ...]) -> Any:
    if isinstance(value, dict):
        return _plain_dict(value, budget, above)
    if isinstance(value, (list, tuple)):
        return _plain_list(value, budget, above)
    if isinstance(value, (set, frozenset)):
        return _in_order(_plain_list(value, budget, above))
    if is_prefect_state(value):
        return state_facts(value)
    if len(above) > 1 and (other := _other_codec(value)):  # so that the container is split
        raise TypeError(f"{type_name(value)} has its own codec, {other}")
    if is_model(value) and (size := _size_as_dumped(value)) is not None:
        budget.spend(size)
        return value.model_dump(mode="json", warnings=False)
    fields = fields_of(value)
    if fields is None:
        raise TypeError(f"JSON takes no {type_name(value)}")
    if getattr(type(value), "__pydantic_root_model__", False):
        return _plain(fields["root"], budget, above)
    return _plain_dict(fields, budget, above)


def _other_codec(value: Any) -> str | None:
    """Return the name of the codec that takes a value before JSON does, if there is one."""
    entry = registry.find(value)
    return entry.name if entry is not None and entry.codec is not JsonCodec else None


def _plain_list(value: Any, budget: Budget, above: tuple[int, ...]) -> list[Any]:
    budget.spend(len(value))
    if _PLAIN.issuperset(map(type, value)):
        return list(value)
    return [_plain(item, budget, above) for item in value]


def _plain_dict(value: dict[Any, Any], budget: Budget, above: tuple[int, ...]) -> dict[str, Any]:
    budget.spend(len(value))
    result: dict[str, Any] = {}
    for key, item in value.items():
        text = _key(key)
        if text in result:
            raise ValueError(f"two keys of a dict both become {text!r} in JSON")
        result[text] = _plain(item, budget, above)
    return result


def _key(key: Any) -> str:
    """Return the text that `json.dumps` makes of a key."""
    if type(key) is str:
        return key
    plain = None if key is None else _plain(key, Budget()) if isinstance(key, _KEYS) else key
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


def _size_as_dumped(value: Any) -> int | None:
    """Return how many values `model_dump` would write; None where it may not write this model.

    Excluded and private fields of models are looked into as well.
    """
    members: dict[int, Collection[Any]] = {}
    found, is_shared = [value], False
    while found:
        item = found.pop()
        if id(item) in members:
            is_shared = is_shared or bool(members[id(item)])
            continue
        if _needs_own_walk(item):
            return None
        members[id(item)] = held = [member for _, member in members_of(item)] or ()
        found.extend(held)
    return size_written(id(value), members) if is_shared else len(members)


def _needs_own_walk(value: Any) -> bool:
    """Tell whether `model_dump` might reveal a secret, order by hash, or merge keys (1 and "1")."""
    if isinstance(value, dict):
        return not all(isinstance(key, str) for key in value)
    return is_secret(value) or isinstance(value, (set, frozenset)) or is_prefect_state(value)


def check_nesting(value: Any, above: tuple[int, ...]) -> None:
    if id(value) in above:
        raise ValueError(f"a {type_name(value)} contains itself")
    if len(above) >= MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
