"""How OMMX's values pass through pickle: to process pools, persisted results and cache keys.

OMMX's classes are not picklable, and claim to live in `builtins`, so that cloudpickle fails even
on a function that is annotated with one of them (ommx 3.0.0b7).
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable
from typing import Any

import ommx
import ommx.adapter
import ommx.artifact
import ommx.experiment

# The values that survive, by way of their own bytes; each class has to_v2_bytes/from_v2_bytes.
BY_BYTES: dict[str, type] = {
    "Instance": ommx.Instance,
    "ParametricInstance": ommx.ParametricInstance,
    "Solution": ommx.Solution,
    "SampleSet": ommx.SampleSet,
}


@functools.cache
def install() -> None:
    """Make OMMX's values and classes picklable in this process."""
    for module in (ommx, ommx.artifact, ommx.experiment):
        for name in dir(module):
            _name_truly(module.__name__, name, getattr(module, name))
    for name in dir(ommx):
        if _is_enum(kind := getattr(ommx, name)):
            _register(kind, _reduce_enum)
    for kind in BY_BYTES.values():
        _register(kind, _reduce_by_bytes)
    _register(ommx.State, _reduce_state)
    _register(ommx.adapter.AdapterNotApplicableError, _reduce_not_applicable)


def _name_truly(module: str, name: str, value: Any) -> None:
    if isinstance(value, type) and value.__module__ == "builtins" and value.__name__ == name:
        value.__module__ = module


def _register(kind: type, reduce: Callable[[Any], Any]) -> None:
    copyreg.pickle(kind, reduce)


def _reduce_by_bytes(value: Any) -> tuple[Any, ...]:
    name = type(value).__name__
    return _from_bytes, (name, value.to_v2_bytes(), dict(sorted(value.annotations.items())))


def _from_bytes(name: str, data: bytes, annotations: dict[str, str]) -> Any:
    value = BY_BYTES[name].from_v2_bytes(data)  # type: ignore[attr-defined]
    if annotations != dict(value.annotations):
        value.annotations = annotations
    return value


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and any(isinstance(x, kind) for x in vars(kind).values())


def _reduce_enum(value: Any) -> tuple[Any, ...]:
    kind = type(value)
    return getattr, (kind, next(n for n, member in vars(kind).items() if member == value))


def _reduce_state(value: Any) -> tuple[Any, ...]:
    return ommx.State, (dict(value.entries),)


def _reduce_not_applicable(error: Any) -> tuple[Any, ...]:
    return _not_applicable, (error.adapter, str(error))


def _not_applicable(adapter: str, message: str) -> ommx.adapter.AdapterNotApplicableError:
    """Return the error without its `report`, which cannot be pickled; its text is the message."""
    kind = ommx.adapter.AdapterNotApplicableError
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.adapter = adapter
    return error
