"""Codecs of bytes, arrays and tables; each library is imported when it is used."""

from __future__ import annotations

import io
import json
from importlib import import_module
from typing import Any

import numpy as np

from ommx_prefect.codecs._json import JsonCodec

# From this size on an array is written from its own memory.
LARGE_ARRAY_BYTES = 2**20


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
        if (pieces := pieces_of_array(value)) is not None:
            return b"".join(pieces)
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> np.ndarray[Any, Any]:
        """Decode an array; stored pickles raise `ValueError`."""
        array: np.ndarray[Any, Any] = np.load(io.BytesIO(data), allow_pickle=False)
        return array


def pieces_of_array(value: np.ndarray[Any, Any]) -> tuple[bytes, memoryview] | None:
    """Return the header of npy, and what stands behind it where it is in memory: no copy.

    None for a small array, and for one that only `np.save` can write: one with gaps, or with
    fields, which may need a later version of npy than 1.0.
    """
    if value.nbytes < LARGE_ARRAY_BYTES or type(value) is not np.ndarray:
        return None
    in_order = value if value.flags.c_contiguous else value.T
    if not in_order.flags.c_contiguous or value.dtype.names or value.dtype.hasobject:
        return None
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(value))
    return header.getvalue(), in_order.reshape(-1).view(np.uint8).data


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
