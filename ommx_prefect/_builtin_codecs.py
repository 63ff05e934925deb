"""How the values of well-known libraries become bytes; each library is imported when it is used."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from typing import Any

NUMPY = "application/vnd.numpy"
PARQUET = "application/vnd.apache.parquet"
SERIES = "application/vnd.ommx-prefect.pandas-series+parquet"
ARROW = "application/vnd.apache.arrow.stream"
PLOTLY = "application/vnd.plotly.v1+json"
OMMX_STATE = "application/vnd.ommx-prefect.state+json"
PREFECT_STATE = "application/vnd.ommx-prefect.prefect-state+json"

# A Series is stored as a frame of one column; its own name may be None or anything.
SERIES_COLUMN = "values"


def is_instance_of(module: str, name: str) -> Callable[[Any], bool]:
    """Return a predicate that never imports: who has such a value has imported the module."""

    def accepts(value: Any) -> bool:
        kind = getattr(sys.modules.get(module), name, None)
        return kind is not None and isinstance(value, kind)

    return accepts


class BytesCodec:
    """`application/octet-stream`: bytes, as they are."""

    media_type = "application/octet-stream"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Return the bytes."""
        return bytes(value)

    @staticmethod
    def decode(data: bytes, /) -> bytes:
        """Return the bytes."""
        return data


class NumpyCodec:
    """`application/vnd.numpy`: an array of any shape and dtype but object, in npy format."""

    media_type = NUMPY

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write an array; raises ValueError for an object array, which would have to be pickled."""
        import numpy as np

        if value.dtype.hasobject:
            raise ValueError("an array of Python objects would have to be pickled")
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read an array."""
        import numpy as np

        return np.load(io.BytesIO(data), allow_pickle=False)


class DataFrameCodec:
    """`application/vnd.apache.parquet`: a DataFrame with its index, column names and dtypes."""

    media_type = PARQUET

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a frame; raises ValueError for duplicate or non-text column labels."""
        _require_pyarrow()
        _require_text_labels(value)
        buffer = io.BytesIO()
        value.to_parquet(buffer, engine="pyarrow")
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read a frame."""
        import pandas as pd

        return pd.read_parquet(io.BytesIO(data), engine="pyarrow")


class SeriesCodec:
    """Parquet of one column: a Series with its index, dtype, and a name that is text or None."""

    media_type = SERIES

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a series."""
        frame = value.to_frame(SERIES_COLUMN)
        frame.attrs = {"name": value.name}
        json.dumps(frame.attrs)  # raises TypeError for a name that is no JSON
        return DataFrameCodec.encode(frame)

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read a series."""
        frame = DataFrameCodec.decode(data)
        return frame[SERIES_COLUMN].rename(frame.attrs["name"])


class ArrowTableCodec:
    """`application/vnd.apache.arrow.stream`: a pyarrow Table as an IPC stream."""

    media_type = ARROW

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a table."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read a table."""
        import pyarrow as pa

        return pa.ipc.open_stream(data).read_all()


class MatplotlibCodec:
    """`image/png`: a Figure as it looks; `decode` returns the PNG's bytes."""

    media_type = "image/png"

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Draw a figure; the same figure gives the same bytes."""
        buffer = io.BytesIO()
        value.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    @staticmethod
    def decode(data: bytes, /) -> bytes:
        """Return the PNG's bytes."""
        return data


class PlotlyCodec:
    """`application/vnd.plotly.v1+json`: a plotly Figure."""

    media_type = PLOTLY

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a figure."""
        text: str = value.to_json()
        return text.encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read a figure."""
        from plotly.io import from_json

        return from_json(data.decode())


class OmmxStateCodec:
    """An `ommx.State`: its values by variable id, exact floats, as JSON."""

    media_type = OMMX_STATE

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a state."""
        return json.dumps(
            {"entries": {str(k): v for k, v in sorted(value.entries.items())}}
        ).encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read a state."""
        import ommx

        entries = json.loads(data)["entries"]
        return ommx.State({int(key): value for key, value in entries.items()})


class PrefectStateCodec:
    """A Prefect State: type, name and message as JSON, without its data; `decode` gives a dict."""

    media_type = PREFECT_STATE

    @staticmethod
    def encode(value: Any, /) -> bytes:
        """Write a state."""
        document = {"type": value.type.value, "name": value.name, "message": value.message}
        return json.dumps(document, ensure_ascii=False).encode()

    @staticmethod
    def decode(data: bytes, /) -> Any:
        """Read what was written."""
        return json.loads(data)


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError("parquet needs pyarrow: pip install pyarrow") from error


def _require_text_labels(frame: Any) -> None:
    if not frame.columns.is_unique:
        raise ValueError("parquet does not know duplicate column labels")
    if not all(isinstance(label, str) for label in frame.columns):
        raise ValueError("parquet does not know column labels that are not text")
