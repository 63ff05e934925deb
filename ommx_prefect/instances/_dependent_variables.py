"""Find the function that defines each dependent variable, which OMMX only tells in its bytes.

`Instance.substitute` and `log_encode` replace a variable by a function of others. The function
returns in every Solution, so it belongs to the content of an instance, but no accessor shows it.
It is read from `to_v2_bytes` without knowing how OMMX writes functions: a probe instance with the
same variables gets the function as its objective, and OMMX itself decodes that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from ommx import Function, Instance, ParametricInstance

AnyInstance: TypeAlias = Instance | ParametricInstance

_VARIABLES = 3
_DEPENDENCIES = 11
_DEPENDENCY_ID, _DEPENDENCY_FUNCTION = 1, 2
_LENGTH_DELIMITED = 2
# Top-level fields of the v2 messages: the objective; what a probe keeps (variables, parameters,
# sense); what it empties, for OMMX wants constraints and named functions to be present.
_OBJECTIVE: dict[type[AnyInstance], int] = {Instance: 4, ParametricInstance: 5}
_KEPT: dict[type[AnyInstance], frozenset[int]] = {
    Instance: frozenset({_VARIABLES, 6}),
    ParametricInstance: frozenset({_VARIABLES, 4, 7}),
}
_EMPTIED: dict[type[AnyInstance], frozenset[int]] = {
    Instance: frozenset({5, 8, 9, 10, 12}),
    ParametricInstance: frozenset({6, 8, 9, 10, 12}),
}


class _Field(NamedTuple):
    """One field of a protobuf message: number, value, and the bytes with the tag."""

    number: int
    value: bytes | int
    raw: bytes


def dependent_functions(instance: AnyInstance, data: bytes) -> dict[int, Function | bytes]:
    """Return the function of every dependent variable by variable id.

    A function that this OMMX release writes in a way the probe cannot read comes as its bytes:
    a digest made from them may miss an equal instance, but never takes two for one.

    Args:
        instance: The instance.
        data: Its `to_v2_bytes()`.
    """
    fields = list(_fields(data))
    return {
        identifier: _decoded(type(instance), fields, function)
        for field in fields
        if field.number == _DEPENDENCIES and isinstance(field.value, bytes)
        for identifier, function in [_entry(field.value)]
    }


def _entry(message: bytes) -> tuple[int, bytes]:
    values = {field.number: field.value for field in _fields(message)}
    identifier = values.get(_DEPENDENCY_ID, 0)
    function = values.get(_DEPENDENCY_FUNCTION, b"")
    if not (isinstance(identifier, int) and isinstance(function, bytes)):
        return -1, message
    return identifier, function


def _decoded(kind: type[AnyInstance], fields: list[_Field], function: bytes) -> Function | bytes:
    probe = b"".join(_kept(kind, fields)) + _delimited(_OBJECTIVE[kind], function)
    try:
        return kind.from_v2_bytes(probe).objective
    except (RuntimeError, ValueError):
        return function


def _kept(kind: type[AnyInstance], fields: list[_Field]) -> Iterator[bytes]:
    for field in fields:
        if field.number in _KEPT[kind]:
            yield field.raw
        elif field.number in _EMPTIED[kind]:
            yield _delimited(field.number, b"")


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        value: bytes | int
        if tag & 7 == 0:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if tag & 7 == _LENGTH_DELIMITED else (8, at)
            value, at = message[at : at + size], at + size
        yield _Field(tag >> 3, value, message[start:at])


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _delimited(number: int, value: bytes) -> bytes:
    return _packed(number << 3 | _LENGTH_DELIMITED) + _packed(len(value)) + value


def _packed(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
