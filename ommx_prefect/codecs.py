"""How a Python value becomes attachments: the registry of codecs and `log_value`.

    log_value(run, "output", {"x": array, "gap": 0.01})    # -> output.x (npy), output.gap (JSON)

    @register_codec(accepts=Route)
    class RouteCodec:
        media_type = "application/vnd.acme.route"

        @staticmethod
        def encode(value: Route) -> bytes: ...
        @staticmethod
        def decode(data: bytes) -> Route: ...

Dispatch looks at the value; the codec registered last wins. No codec pickles, optional libraries
are never imported to test a value, and nothing is imported because stored data names it. The same
value gives the same bytes in every process. OMMX values, JSON and bytes are read back with plain
`ommx`, the rest with `get_with_codec(codec, name)`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import json
import re
import sys
import threading
import traceback
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal
from enum import Enum
from functools import reduce
from importlib import import_module
from itertools import count
from pathlib import Path
from types import NoneType
from typing import Any, TypeAlias, TypeVar, overload
from uuid import UUID

import numpy as np
import ommx
from ommx.experiment import Experiment, Run
from ommx.experiment.attachments import AttachmentCodec

__all__ = [
    "REDACTED",
    "ArrowTableCodec",
    "BytesCodec",
    "CodecEntry",
    "CodecRegistry",
    "DataFrameCodec",
    "JsonCodec",
    "LoggedValue",
    "MatplotlibCodec",
    "NumpyCodec",
    "PlotlyCodec",
    "PrefectStateCodec",
    "SeriesCodec",
    "SkippedValue",
    "StateCodec",
    "is_secret",
    "log_value",
    "register_codec",
    "registry",
]

REDACTED = "**redacted**"
"""What is stored in the place of a secret."""

MAX_DEPTH = 32
# A layer costs about 250 bytes of a manifest, and OCI registries cap a manifest at 4 MiB.
MAX_ITEMS = 4096

Accepts: TypeAlias = "type | tuple[type, ...] | Callable[[Any], bool]"
Writer: TypeAlias = "Callable[[Run | Experiment, str], object]"
C = TypeVar("C", bound="type[AttachmentCodec[Any]]")


def _instance_of(module: str, name: str) -> Callable[[Any], bool]:
    """Test for a class of a library that may never have been imported."""

    def accepts(value: Any) -> bool:
        found = getattr(sys.modules.get(module), name, None)
        return isinstance(found, type) and isinstance(value, found)

    return accepts


_is_block = _instance_of("prefect.blocks.core", "Block")
_is_prefect_state = _instance_of("prefect.client.schemas.objects", "State")
_is_model = _instance_of("pydantic", "BaseModel")


def is_secret(value: Any) -> bool:
    """Tell a pydantic secret (anything with `get_secret_value`) or a Prefect Block."""
    return callable(getattr(type(value), "get_secret_value", None)) or _is_block(value)


# ---------------------------------------------------------------------------------------- JSON


def _seconds(value: np.timedelta64) -> float:
    return float(value / np.timedelta64(1, "s"))


def _member_name(value: Any) -> str:
    return repr(value).rpartition(".")[2]


_OMMX_ENUMS = (
    ommx.DecisionVariableRole,
    ommx.Equality,
    ommx.Kind,
    ommx.Optimality,
    ommx.ProvenanceKind,
    ommx.Relaxation,
    ommx.Sense,
    ommx.SpecialConstraintKind,
)
_PLAIN = frozenset({str, int, float, bool, NoneType})
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
    (_OMMX_ENUMS, _member_name),
)
_JSON_TYPES = (
    *(kind for kinds, _ in _LEAVES for kind in kinds),
    *(NoneType, dict, list, tuple, set, frozenset),
)


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
        return json.dumps(_plain(value)).encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode to plain dict, list, str, int, float, bool and None."""
        return json.loads(data)


def _takes_json(value: Any) -> bool:
    if isinstance(value, _JSON_TYPES) or is_secret(value):
        return True
    return _is_model(value) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Rebuild a value of what `json` knows; `above` holds the ids of the values around it."""
    if type(value) in _PLAIN:
        return value
    if is_secret(value):
        return REDACTED
    for types, convert in _LEAVES:
        if isinstance(value, types):
            return convert(value)
    _check_nesting(value, above)
    return _plain_members(value, (*above, id(value)))


def _plain_members(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, dict):
        return _plain_dict(value, above)
    if isinstance(value, (list, tuple)):
        return _plain_list(value, above)
    if isinstance(value, (set, frozenset)):
        return _in_order(_plain_list(value, above))
    if _is_prefect_state(value):
        return _state_facts(value)
    if _is_model(value) and not any(map(_needs_own_walk, _within(value))):
        return value.model_dump(mode="json", warnings=False)
    fields = _fields(value)
    if fields is None:
        raise TypeError(f"JSON takes no {_type_name(value)}")
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
        raise TypeError(f"JSON takes no {_type_name(key)} as a key")
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


def _fields(value: Any) -> dict[str, Any] | None:
    """Give the fields of a dataclass instance or pydantic model, None for other values."""
    if _is_model(value):
        kept = (name for name, field in type(value).model_fields.items() if not field.exclude)
        return {name: getattr(value, name) for name in kept} | (value.model_extra or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _within(value: Any) -> Iterator[Any]:
    """Yield a value and everything that it holds, excluded and private fields of models too."""
    seen: set[int] = set()
    found = [value]
    while found:
        item = found.pop()
        if id(item) not in seen:
            seen.add(id(item))
            yield item
            found.extend(_held(item))


def _held(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, dict):
        return value.values()
    if _is_model(value):
        private = getattr(value, "__pydantic_private__", None) or {}
        return [*vars(value).values(), *(value.model_extra or {}).values(), *private.values()]
    return (_fields(value) or {}).values()


def _needs_own_walk(value: Any) -> bool:
    """Tell what `model_dump` may reveal, order by hash, or lose (keys 1 and "1")."""
    if isinstance(value, dict):
        return not all(isinstance(key, str) for key in value)
    return is_secret(value) or isinstance(value, (set, frozenset)) or _is_prefect_state(value)


def _check_nesting(value: Any, above: tuple[int, ...]) -> None:
    if id(value) in above:
        raise ValueError(f"a {_type_name(value)} contains itself")
    if len(above) >= MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


def _type_name(value: Any) -> str:
    kind = type(value)
    prefix = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return prefix + kind.__qualname__


# ------------------------------------------------------------------------------ arrays, tables


class BytesCodec:
    """Bytes, bytearray and memoryview as they are: `application/octet-stream`."""

    media_type = "application/octet-stream"

    @staticmethod
    def encode(value: bytes | bytearray | memoryview, /) -> bytes:
        """Copy the bytes."""
        return bytes(value)

    @staticmethod
    def decode(data: bytes, /) -> bytes:
        """Return the bytes."""
        return data


class NumpyCodec:
    """NumPy array in npy format: `application/vnd.numpy`; dtype, shape and order are kept.

    `encode` raises `TypeError` for dtype object, which npy would pickle, and for a masked array,
    whose mask npy would drop.
    """

    media_type = "application/vnd.numpy"

    @staticmethod
    def encode(value: np.ndarray[Any, Any], /) -> bytes:
        """Encode an array of any dtype but object."""
        if value.dtype.hasobject:
            raise TypeError(f"dtype {value.dtype} needs pickle; convert it, e.g. astype(float)")
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError("npy drops the mask; log .filled() or .data and .mask")
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> np.ndarray[Any, Any]:
        """Decode an array; stored pickles raise `ValueError`."""
        array: np.ndarray[Any, Any] = np.load(io.BytesIO(data), allow_pickle=False)
        return array


class DataFrameCodec:
    """pandas DataFrame as parquet: `application/vnd.apache.parquet`; needs pyarrow.

    Columns, dtypes and index (MultiIndex too) are kept. `encode` raises `ValueError` for labels
    that parquet would change (repeated, of mixed types, bool), and pyarrow's errors for cells
    that it has no type for.
    """

    media_type = "application/vnd.apache.parquet"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a DataFrame."""
        _pyarrow()
        _check_labels(value)
        return bytes(value.to_parquet(engine="pyarrow"))

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode a DataFrame."""
        return _library("pandas").read_parquet(io.BytesIO(data), engine="pyarrow")


class SeriesCodec:
    """pandas Series as parquet of one column: `application/vnd.ommx-prefect.pandas.series+parquet`.

    dtype, index and name (None, a scalar or a tuple of them) are kept; `attrs` are not. The column
    is called `value`, the name is JSON in the schema's `ommx_prefect.series_name`. Raises as
    `DataFrameCodec` does, and `ValueError` for a name that JSON would change.
    """

    media_type = "application/vnd.ommx-prefect.pandas.series+parquet"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a Series."""
        arrow = _pyarrow()
        frame = value.to_frame(name="value")
        frame.attrs = {}
        _check_labels(frame)
        table = arrow.Table.from_pandas(frame)
        metadata = {**table.schema.metadata, _SERIES_NAME: _name_text(value.name)}
        buffer = io.BytesIO()
        _library("pyarrow.parquet").write_table(table.replace_schema_metadata(metadata), buffer)
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode a Series."""
        _pyarrow()
        table = _library("pyarrow.parquet").read_table(io.BytesIO(data))
        series = table.to_pandas().iloc[:, 0]
        series.name = _name_of(table.schema.metadata[_SERIES_NAME])
        return series


class ArrowTableCodec:
    """pyarrow Table as an IPC stream: `application/vnd.apache.arrow.stream`; schema kept."""

    media_type = "application/vnd.apache.arrow.stream"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a Table."""
        buffer = io.BytesIO()
        with _library("pyarrow.ipc").new_stream(buffer, value.schema) as stream:
            stream.write_table(value)
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode a Table."""
        _pyarrow()
        return _library("pyarrow.ipc").open_stream(data).read_all()


_SERIES_NAME = b"ommx_prefect.series_name"


def _name_text(name: Any) -> bytes:
    text = JsonCodec.encode(name)
    if _name_of(text) != name:
        raise ValueError(f"the name of the Series, {name!r}, does not survive JSON; rename it")
    return text


def _name_of(text: bytes) -> Any:
    name = json.loads(text)
    return tuple(name) if isinstance(name, list) else name


def _check_labels(frame: Any) -> None:
    """Refuse labels that parquet would change, judged by a round trip of no rows."""
    names = [name for name in frame.index.names if name is not None]
    if not frame.columns.is_unique:
        raise ValueError(f"column labels occur twice: {_repeated(frame.columns)}")
    if len({*names}) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"parquet needs distinct str names of index levels, not {names}")
    kind = "" if frame.columns.nlevels > 1 else frame.columns.inferred_type
    if kind == "boolean" or kind.startswith("mixed") or not _labels_survive(frame):
        raise ValueError(f"parquet would change the column labels ({kind}); make them str")


def _repeated(labels: Any) -> list[Any]:
    return list(labels[labels.duplicated()].unique())[:5]


def _labels_survive(frame: Any) -> bool:
    again = DataFrameCodec.decode(frame.iloc[:0].to_parquet(engine="pyarrow"))
    same_names = again.columns.names == frame.columns.names
    return same_names and bool(again.columns.equals(frame.columns))


def _library(module: str) -> Any:
    return import_module(module)


def _pyarrow() -> Any:
    try:
        return _library("pyarrow")
    except ImportError as error:
        raise ImportError("tables are stored through pyarrow: pip install pyarrow") from error


# ----------------------------------------------------------------------------- figures, states


class MatplotlibCodec:
    """matplotlib Figure as `image/png`, at the figure's own dpi; needs no pyplot, no display.

    A picture is not a Figure: `decode` gives the PNG bytes.
    """

    media_type = "image/png"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Draw a Figure."""
        buffer = io.BytesIO()
        # The default metadata names matplotlib's version: other bytes for the same picture.
        value.savefig(buffer, format="png", dpi="figure", metadata={"Software": None})
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> bytes:
        """Return the PNG bytes."""
        return data


class PlotlyCodec:
    """plotly Figure as plotly's own JSON: `application/vnd.plotly.v1+json`; uids are dropped."""

    media_type = "application/vnd.plotly.v1+json"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode a Figure; by `json`, as orjson, where it is installed, gives other bytes."""
        text: str = value.to_json(engine="json")
        return text.encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Decode a `plotly.graph_objects.Figure`; raises `ImportError` without plotly."""
        return _library("plotly.io").from_json(data.decode(), engine="json")


class StateCodec:
    """`ommx.State` as OMMX v1 protobuf, ids ascending; read with `State.from_v1_bytes` too.

    Stored as `application/vnd.ommx-prefect.ommx-state+protobuf`, as OMMX names no media type.
    """

    media_type = "application/vnd.ommx-prefect.ommx-state+protobuf"

    @staticmethod
    def encode(value: ommx.State, /) -> bytes:
        """Encode a State; `to_v1_bytes` alone writes the entries in an order of chance."""
        entries = sorted(value.entries.items())
        # Protobuf messages concatenate to their union.
        return b"".join(ommx.State({key: number}).to_v1_bytes() for key, number in entries)

    @staticmethod
    def decode(data: bytes, /) -> ommx.State:
        """Decode a State."""
        return ommx.State.from_v1_bytes(data)


class PrefectStateCodec:
    """Prefect `State` as JSON of type, name and message; the data it points to is left out.

    Stored as `application/vnd.ommx-prefect.prefect-state+json`; `decode` gives a dict.
    """

    media_type = "application/vnd.ommx-prefect.prefect-state+json"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Encode type, name and message of a State."""
        return json.dumps(_state_facts(value)).encode()

    @staticmethod
    def decode(data: bytes, /) -> dict[str, str | None]:
        """Decode to a dict with the keys `type`, `name` and `message`."""
        facts: dict[str, str | None] = json.loads(data)
        return facts


def _state_facts(state: Any) -> dict[str, str | None]:
    return {"type": state.type.value, "name": state.name, "message": state.message}


# ------------------------------------------------------------------------------------ registry


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
        self._lock = threading.Lock()
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
        """Give the row that takes a value, None when there is none.

        `JsonCodec` takes containers by their type; whether all that is inside is JSON shows when
        it encodes. A predicate that raises does not take the value.
        """
        return next((entry for entry in self._entries if _accepted(entry, value)), None)


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
            raise TypeError(f"encode returned {_type_name(data)}, not bytes")
        return _Encoded(codec.media_type, data)

    return prepare


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """Bytes that wait for their name."""

    media_type: str
    data: bytes

    def __call__(self, target: Run | Experiment, name: str) -> None:
        target.log_attachment(name, self.media_type, self.data)


def _ommx_entry(kind: type, media_type: str, verb: str) -> CodecEntry:
    def prepare(value: Any) -> Writer:
        return lambda target, name: getattr(target, verb)(name, value)

    return CodecEntry(kind.__name__, media_type, _predicate(kind), prepare)


def _prepare_file(path: Path) -> Writer:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not an existing file")
    path.open("rb").close()
    return lambda target, name: target.log_file(name, path)


# Later rows are asked first.
_BUILT_IN: tuple[tuple[type[AttachmentCodec[Any]], Accepts], ...] = (
    (JsonCodec, _takes_json),
    (BytesCodec, (bytes, bytearray, memoryview)),
    (NumpyCodec, np.ndarray),
    (DataFrameCodec, _instance_of("pandas", "DataFrame")),
    (SeriesCodec, _instance_of("pandas", "Series")),
    (ArrowTableCodec, _instance_of("pyarrow", "Table")),
    (MatplotlibCodec, _instance_of("matplotlib.figure", "Figure")),
    (PlotlyCodec, _instance_of("plotly.basedatatypes", "BaseFigure")),
    (StateCodec, ommx.State),
    (PrefectStateCodec, _is_prefect_state),
)
_OMMX: tuple[tuple[type, str, str], ...] = (
    (ommx.Instance, "application/org.ommx.v2.instance", "log_instance"),
    (
        ommx.ParametricInstance,
        "application/org.ommx.v2.parametric-instance",
        "log_parametric_instance",
    ),
    (ommx.Solution, "application/org.ommx.v2.solution", "log_solution"),
    (ommx.SampleSet, "application/org.ommx.v2.sample-set", "log_sample_set"),
)

registry = CodecRegistry()
"""The codecs that `log_value` asks."""

for _codec, _accepts in _BUILT_IN:
    registry.register(_codec, accepts=_accepts)
for _row in _OMMX:
    registry.add(_ommx_entry(*_row))
registry.add(CodecEntry("Path", "*/*", _predicate(Path), _prepare_file))

_SECRET = CodecEntry(JsonCodec.__name__, JsonCodec.media_type, is_secret, _encoder(JsonCodec))


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


# --------------------------------------------------------------------------------- attachments


@dataclasses.dataclass(frozen=True)
class SkippedValue:
    """A value that was not attached: the name it would have had, its type, and why."""

    name: str
    type_name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class LoggedValue:
    """What became of one value: the attachments written, and what was left out."""

    names: tuple[str, ...]
    skipped: tuple[SkippedValue, ...]


def log_value(
    target: Run | Experiment, name: str, value: Any, *, forbidden: Collection[str] = ()
) -> LoggedValue:
    """Attach a value to an open Run or Experiment, by the codec that takes it.

    None is not attached. A dict, list or tuple that is JSON throughout is one attachment; any
    other dict with str keys, list, tuple, dataclass instance or pydantic model is split into
    `name.<key>`, `name.<index>` or `name.<field>`, to a depth of 32 and 4096 items each. A name
    that is taken gets the suffix `~2`, `~3`, ...

    Args:
        target: Where to attach.
        name: The attachment's name, or what the names of the parts begin with.
        value: What to attach.
        forbidden: Texts of secrets. They are cut out of names and of the strings in JSON; other
            encoded bytes that show one are skipped. Text that a format compresses (parquet, png),
            OMMX values and files are not searched.

    Returns:
        The names written, and the values that no codec takes or whose codec raised.

    Raises:
        RuntimeError: OMMX could not write (disk full, Run closed), unchanged.
    """
    attaching = _Attaching(target, tuple(filter(None, forbidden)))
    if value is not None:
        attaching.add(name, value, ())
    return LoggedValue(tuple(attaching.names), tuple(attaching.skipped))


@dataclasses.dataclass
class _Attaching:
    """One call of `log_value` under way."""

    target: Run | Experiment
    forbidden: tuple[str, ...] = ()
    names: dict[str, None] = dataclasses.field(default_factory=dict)
    skipped: list[SkippedValue] = dataclasses.field(default_factory=list)

    def add(self, name: str, value: Any, above: tuple[int, ...]) -> None:
        entry = _SECRET if is_secret(value) else registry.find(value)
        if entry is None:
            return self._skip(name, value, f"no codec takes {_type_name(value)}")
        try:
            write = entry.prepare(value)
        except Exception as error:
            items = _items(value) if entry.codec is JsonCodec else None
            if items is not None:
                return self._split(name, value, items, above)
            return self._skip(name, value, f"codec {entry.name} raised {_described(error)}")
        if isinstance(write, _Encoded) and _shows(write.data, self.forbidden):
            if entry.codec is not JsonCodec:
                return self._skip(name, value, "its bytes show a secret")
            text = json.dumps(_cut(json.loads(write.data), self.forbidden))
            write = _Encoded(write.media_type, text.encode())
        return self._write(name, write)

    def _split(
        self, name: str, value: Any, items: list[tuple[Any, Any]], above: tuple[int, ...]
    ) -> None:
        try:
            _check_nesting(value, above)
        except ValueError as error:
            return self._skip(name, value, str(error))
        if len(items) > MAX_ITEMS:
            return self._skip(name, value, f"{len(items)} items, more than {MAX_ITEMS}")
        for key, item in items:
            self.add(f"{name}.{key}", item, (*above, id(value)))
        return None

    def _skip(self, name: str, value: Any, reason: str) -> None:
        texts = (_cut(text, self.forbidden) for text in (name, _type_name(value), reason))
        name, type_name, reason = texts
        self.skipped.append(SkippedValue(name, type_name, reason[:500]))

    def _write(self, name: str, write: Writer) -> None:
        name = _cut(name, self.forbidden)
        in_use = ChainMap[str, None]({}, self.names)
        while not self._is_written(unique := _unused(name, in_use), write):
            in_use[unique] = None
        self.names[unique] = None

    def _is_written(self, name: str, write: Writer) -> bool:
        try:
            write(self.target, name)
        except RuntimeError as error:
            # An open Run does not list its names: only the refusal tells that one is taken.
            if f"Attachment `{name}` already exists" not in str(error):
                raise
            return False
        return True


def _items(value: Any) -> list[tuple[Any, Any]] | None:
    """Give the parts under which a container is split, None when it cannot be."""
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    members = value if isinstance(value, dict) else _fields(value)
    if members is None or not all(isinstance(key, str) for key in members):
        return None
    return list(members.items())


def _shows(data: bytes, forbidden: tuple[str, ...]) -> bool:
    """Tell whether bytes hold a secret, as UTF-8 or as `json.dumps` escapes it."""
    texts = (form for text in forbidden for form in (text, json.dumps(text)[1:-1]))
    return any(form.encode(errors="replace") in data for form in texts)


def _cut(value: Any, forbidden: tuple[str, ...]) -> Any:
    """Replace secrets in the strings of a JSON value; keys that become one stay apart."""
    if isinstance(value, str):
        return reduce(lambda text, secret: text.replace(secret, REDACTED), forbidden, value)
    if isinstance(value, list):
        return [_cut(item, forbidden) for item in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, item in value.items():
        result[_unused(_cut(key, forbidden), result)] = _cut(item, forbidden)
    return result


def _unused(name: str, taken: Collection[str]) -> str:
    names = (name if number == 1 else f"{name}~{number}" for number in count(1))
    return next(unique for unique in names if unique not in taken)


def _described(error: Exception) -> str:
    return "".join(traceback.format_exception_only(type(error), error)).strip()
