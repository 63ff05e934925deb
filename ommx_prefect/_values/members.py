"""The members of containers, dataclass instances and pydantic models."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any


def instance_of(module: str, name: str) -> Callable[[Any], bool]:
    """Test for a class of a library that may never have been imported."""

    def accepts(value: Any) -> bool:
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and isinstance(value, found)

    return accepts


is_model = instance_of("pydantic", "BaseModel")


def is_dataclass_instance(value: Any) -> bool:
    """Tell an instance of a dataclass from the class itself."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def fields_of(value: Any) -> dict[str, Any] | None:
    """Give the fields of a dataclass instance or pydantic model, None for other values."""
    if is_model(value):
        kept = (name for name, field in type(value).model_fields.items() if not field.exclude)
        return {name: getattr(value, name) for name in kept} | (value.model_extra or {})
    if is_dataclass_instance(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def members_of(value: Any, most: int | None = None) -> list[tuple[Any, Any]]:
    """Return what a value holds as pairs of name and member; nothing for other values.

    The name is the key, or the field's name (excluded and private fields of models too), and
    None in a list, tuple or set. At most `most` members, taken in one step where Python allows
    it: another thread may fill the container meanwhile.
    """
    if isinstance(value, dict):
        return list(islice(value.items(), most))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(islice(zip(value._fields, value, strict=False), most))
    if isinstance(value, (list, tuple, set, frozenset)):
        return [(None, item) for item in list(islice(value, most))]
    if is_model(value):
        hidden = (getattr(value, name, None) for name in ("model_extra", "__pydantic_private__"))
        return [pair for held in (vars(value), *hidden) for pair in list((held or {}).items())]
    return list((fields_of(value) or {}).items())
