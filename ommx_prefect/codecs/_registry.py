"""The registry of codecs: the last one registered that takes a value is used."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
import ommx
from ommx.experiment import Experiment, Run
from ommx.experiment.attachments import AttachmentCodec

from ommx_prefect._format.model import (
    INSTANCE_MEDIA_TYPE,
    PARAMETRIC_INSTANCE_MEDIA_TYPE,
    SAMPLE_SET_MEDIA_TYPE,
    SOLUTION_MEDIA_TYPE,
)
from ommx_prefect._memory.forks import process_lock
from ommx_prefect._values.members import instance_of
from ommx_prefect._values.parameters import storable
from ommx_prefect._values.secrets import is_secret
from ommx_prefect.codecs import _json
from ommx_prefect.codecs._figures import (
    MatplotlibCodec,
    PlotlyCodec,
    PrefectStateCodec,
    StateCodec,
)
from ommx_prefect.codecs._json import (
    PLAIN_TYPES,
    JsonCodec,
    is_prefect_state,
    takes_json,
    type_name,
)
from ommx_prefect.codecs._tables import (
    ArrowTableCodec,
    BytesCodec,
    DataFrameCodec,
    NumpyCodec,
    SeriesCodec,
    pieces_of_array,
)

Accepts: TypeAlias = "type | tuple[type, ...] | Callable[[Any], bool]"
Writer: TypeAlias = "Callable[[Run | Experiment, str], object]"
C = TypeVar("C", bound="type[AttachmentCodec[Any]]")


@dataclasses.dataclass(frozen=True)
class CodecEntry:
    """One row of the registry.

    Attributes:
        name: The codec's class name, or the type's where OMMX itself stores it.
        media_type: What is stored; `*/*` where OMMX infers it from a file's content.
        accepts: Whether this row takes a value.
        prepare: Encodes a value; what it returns writes the bytes under a name.
        codec: The codec class for `get_with_codec`; None where OMMX has its own getter.
    """

    name: str
    media_type: str
    accepts: Callable[[Any], bool]
    prepare: Callable[[Any], Writer]
    codec: type[AttachmentCodec[Any]] | None = None


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
        _check_codec(codec)
        test, prepare = _predicate(accepts), _encoder(codec)
        self.add(CodecEntry(codec.__name__, codec.media_type, test, prepare, codec))

    def find(self, value: Any) -> CodecEntry | None:
        """Return the row that takes a value, or None.

        `JsonCodec` takes containers by their type; whether all that is inside is JSON shows when
        it encodes. A predicate that raises does not take the value.
        """
        is_plain = type(value) in PLAIN_TYPES
        for entry in self._entries:
            if is_plain and entry is _FIRST_BUILT_IN:  # of those only one can take it
                return _JSON_ENTRY
            if _accepted(entry, value):
                return entry
        return None


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


def _predicate(accepts: Any) -> Callable[[Any], bool]:
    types = accepts if isinstance(accepts, tuple) else (accepts,)
    if types and all(isinstance(kind, type) for kind in types):
        return lambda value: isinstance(value, types)
    if not callable(accepts):
        raise TypeError(
            f"accepts must be a type, a tuple of types or a function value -> bool, not {accepts!r}"
        )
    predicate: Callable[[Any], bool] = accepts
    return predicate


def _encoder(codec: type[AttachmentCodec[Any]]) -> Callable[[Any], Writer]:
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


def _prepare_array(value: np.ndarray[Any, Any]) -> Writer:
    pieces = pieces_of_array(value)
    if pieces is None:
        return _encoder(NumpyCodec)(value)
    return InPieces(NumpyCodec.media_type, pieces)


def _ommx_entry(kind: type, media_type: str, verb: str) -> CodecEntry:
    def prepare(value: Any) -> Writer:
        return lambda target, name: getattr(target, verb)(name, value)

    return CodecEntry(kind.__name__, media_type, _predicate(kind), prepare)


def _prepare_file(path: Path) -> Writer:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not an existing file")
    path.open("rb").close()
    if storable(path.name) != path.name:  # OMMX keeps it, and refuses others
        raise ValueError(f"{storable(str(path))} has a name that is no UTF-8; rename it")
    return lambda target, name: target.log_file(name, path)


# Later rows are asked first.
_BUILT_IN: tuple[tuple[type[AttachmentCodec[Any]], Accepts], ...] = (
    (JsonCodec, takes_json),
    (BytesCodec, (bytes, bytearray, memoryview)),
    (DataFrameCodec, instance_of("pandas", "DataFrame")),
    (SeriesCodec, instance_of("pandas", "Series")),
    (ArrowTableCodec, instance_of("pyarrow", "Table")),
    (MatplotlibCodec, instance_of("matplotlib.figure", "Figure")),
    (PlotlyCodec, instance_of("plotly.basedatatypes", "BaseFigure")),
    (StateCodec, ommx.State),
    (PrefectStateCodec, is_prefect_state),
)
_OMMX: tuple[tuple[type, str, str], ...] = (
    (ommx.Instance, INSTANCE_MEDIA_TYPE, "log_instance"),
    (ommx.ParametricInstance, PARAMETRIC_INSTANCE_MEDIA_TYPE, "log_parametric_instance"),
    (ommx.Solution, SOLUTION_MEDIA_TYPE, "log_solution"),
    (ommx.SampleSet, SAMPLE_SET_MEDIA_TYPE, "log_sample_set"),
)

registry = CodecRegistry()
"""The codecs that `log_value` asks."""


def _name_other_codec(value: Any) -> str | None:
    entry = registry.find(value)
    return entry.name if entry is not None and entry.codec is not JsonCodec else None


_json.name_other_codec = _name_other_codec

for _codec, _accepts in _BUILT_IN:
    registry.register(_codec, accepts=_accepts)
for _row in _OMMX:
    registry.add(_ommx_entry(*_row))
registry.add(CodecEntry("Path", "*/*", _predicate(Path), _prepare_file))

_NPY = ("NumpyCodec", NumpyCodec.media_type, _predicate(np.ndarray), _prepare_array, NumpyCodec)
registry.add(CodecEntry(*_NPY))

_FIRST_BUILT_IN = registry.entries[0]
_JSON_ENTRY = registry.entries[-1]
SECRET_ENTRY = CodecEntry(JsonCodec.__name__, JsonCodec.media_type, is_secret, _encoder(JsonCodec))


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
