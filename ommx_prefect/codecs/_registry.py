"""The registry of codecs: the last one registered that takes a value is used."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from types import NoneType
from typing import Any, TypeAlias, TypeVar, overload

from ommx.experiment import Experiment, Run
from ommx.experiment.attachments import AttachmentCodec

from ommx_prefect._memory.forks import process_lock

Accepts: TypeAlias = "type | tuple[type, ...] | Callable[[Any], bool]"
Writer: TypeAlias = "Callable[[Run | Experiment, str], object]"
C = TypeVar("C", bound="type[AttachmentCodec[Any]]")
# What JSON knows as it is: of the built-in rows only that of the JSON codec takes it.
PLAIN_TYPES = frozenset({str, int, float, bool, NoneType, dict, list, tuple})


@dataclasses.dataclass(frozen=True)
class CodecEntry:
    """One row of the registry.

    Attributes:
        name: The codec's class name, or the type's where OMMX itself stores it.
        media_type: What is stored; `*/*` where OMMX infers it from a file's content.
        accepts: Whether this row takes a value.
        prepare: Encodes a value; what it returns writes the bytes under a name.
        codec: The codec class for `get_with_codec`; None where OMMX has its own getter.
        takes_plain: Whether it is asked of what JSON knows as it is: dict, list, text, number.
    """

    name: str
    media_type: str
    accepts: Callable[[Any], bool]
    prepare: Callable[[Any], Writer]
    codec: type[AttachmentCodec[Any]] | None = None
    takes_plain: bool = True


class CodecRegistry:
    """Codecs by value: the one registered last that accepts a value takes it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = process_lock()
        self._entries: tuple[CodecEntry, ...] = ()

    @property
    def entries(self) -> tuple[CodecEntry, ...]:
        """All rows, in the order in which they are asked."""
        return self._entries

    def add(self, entry: CodecEntry) -> None:
        """Put a row before all others."""
        with self._lock:
            self._entries = (entry, *self._entries)

    def register(self, codec: type[AttachmentCodec[Any]], *, accepts: Accepts) -> None:
        """Put a codec before all others; see `register_codec`."""
        self.add(entry_of(codec, accepts))

    def find(self, value: Any) -> CodecEntry | None:
        """Return the row that takes a value, or None.

        `JsonCodec` takes containers by their type; whether all that is inside is JSON shows when
        it encodes. A predicate that raises does not take the value.
        """
        is_plain = type(value) in PLAIN_TYPES
        for entry in self._entries:
            if (entry.takes_plain or not is_plain) and _accepted(entry, value):
                return entry
        return None


registry = CodecRegistry()
"""The codecs that `log_value` asks."""


@overload
def register_codec(codec: C, *, accepts: Accepts) -> C: ...
@overload
def register_codec(*, accepts: Accepts) -> Callable[[C], C]: ...
def register_codec(codec: Any = None, *, accepts: Accepts) -> Any:
    """Let a codec take values, before every codec registered so far.

    Args:
        codec: An `ommx.experiment.attachments.AttachmentCodec` class; left out, a decorator for
            such a class is returned.
        accepts: A type, a tuple of types, or a function `value -> bool`. Secrets never reach it.

    Returns:
        The codec.

    Raises:
        TypeError: The class lacks `encode`, `decode` or a valid `media_type`, or `accepts` is
            none of the three.
    """
    if codec is None:
        return lambda late: register_codec(late, accepts=accepts)
    registry.register(codec, accepts=accepts)
    return codec


def entry_of(
    codec: type[AttachmentCodec[Any]], accepts: Accepts, *, takes_plain: bool = True
) -> CodecEntry:
    """Return the row of a codec class; TypeError where it, or `accepts`, is none."""
    _check_codec(codec)
    test, prepare = predicate(accepts), encoder(codec)
    return CodecEntry(codec.__name__, codec.media_type, test, prepare, codec, takes_plain)


def _accepted(entry: CodecEntry, value: Any) -> bool:
    try:
        return bool(entry.accepts(value))
    except Exception:  # a predicate written for one type meets values of all types
        return False


_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}", re.A)


def _check_codec(codec: Any) -> None:
    methods = all(callable(getattr(codec, name, None)) for name in ("encode", "decode"))
    if not isinstance(codec, type) or not methods:
        raise TypeError(
            f"register_codec needs a class with media_type, encode and decode, not {codec!r}; see "
            "ommx.experiment.attachments.AttachmentCodec"
        )
    media_type = getattr(codec, "media_type", None)
    if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
        raise TypeError(
            f"{codec.__name__}.media_type must be an OCI media type without parameters, like "
            f"application/vnd.acme.route, not {media_type!r}"
        )


def predicate(accepts: Any) -> Callable[[Any], bool]:
    """Return what `accepts` stands for: a type, a tuple of types or a function."""
    types = accepts if isinstance(accepts, tuple) else (accepts,)
    if types and all(isinstance(kind, type) for kind in types):
        return lambda value: isinstance(value, types)
    if not callable(accepts):
        raise TypeError(
            f"accepts must be a type, a tuple of types or a function value -> bool, not {accepts!r}"
        )
    function: Callable[[Any], bool] = accepts
    return function


def encoder(codec: type[AttachmentCodec[Any]]) -> Callable[[Any], Writer]:
    """Return what encodes a value by a codec, to be attached."""

    def prepare(value: Any) -> Writer:
        data = codec.encode(value)
        if not isinstance(data, bytes):
            raise TypeError(f"encode returned {type_name(data)}, not bytes")
        return Encoded(codec.media_type, data)

    return prepare


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Encoded bytes, to be attached under a name."""

    media_type: str
    data: bytes

    def __call__(self, target: Run | Experiment, name: str) -> None:
        target.log_attachment(name, self.media_type, self.data)


@dataclasses.dataclass(frozen=True)
class InPieces:
    """The bytes of a large value where they are in memory, with their header; no copy of them."""

    media_type: str
    pieces: tuple[bytes | memoryview, ...]

    @property
    def data(self) -> bytes:
        """A copy of them, in one."""
        return b"".join(self.pieces)

    def __call__(self, target: Any, name: str) -> None:
        if hasattr(target, "log_pieces"):
            target.log_pieces(name, self.media_type, self.pieces)
        else:  # OMMX takes bytes alone
            target.log_attachment(name, self.media_type, self.data)


def type_name(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return prefix + kind.__qualname__
