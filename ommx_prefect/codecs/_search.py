"""Search an encoded value for secrets; the table says which parts of it.

| value | what is searched |
|---|---|
| a text (JSON, a State of Prefect, a figure of plotly) | it is cut out |
| any other bytes | all of them, as UTF-8, UTF-16 and UTF-32 |
| a table, which parquet compresses | its labels, and the cells that are no numbers |
| a figure of matplotlib, which is drawn | its texts |
| a file | its bytes; its name is cut out where the Run is closed |
| an OMMX value | its annotations |
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ommx_prefect._values.members import instance_of
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.codecs._figures import PlotlyCodec, PrefectStateCodec
from ommx_prefect.codecs._json import JsonCodec
from ommx_prefect.codecs._registry import CodecEntry, Encoded, InPieces, Writer

# The codecs whose bytes are JSON that may be changed text by text.
TEXTS = (JsonCodec, PrefectStateCodec, PlotlyCodec)


def searched(
    entry: CodecEntry, key: str, value: Any, write: Writer, redact: Redactor
) -> tuple[Writer | None, bool]:
    """Return how a value under a key may be stored, or None; and whether it was changed."""
    if isinstance(write, Encoded) and entry.codec in TEXTS:
        data = _without_secrets(write.data, key, redact)
        return (write, False) if data is None else (Encoded(write.media_type, data), True)
    if redact.hides(value, key):
        return None, False
    if not redact.texts:
        return write, False
    return (None if _shows(value, write, redact) else write), False


def _without_secrets(data: bytes, key: str, redact: Redactor) -> bytes | None:
    """Return JSON without secrets; None where it holds none."""
    if not redact.may_show(data):
        return None
    before = redact.count
    shown = redact.json(json.loads(data), key)
    return json.dumps(shown).encode() if redact.count > before else None


def _shows(value: Any, write: Writer, redact: Redactor) -> bool:
    if isinstance(write, Encoded) and redact.shows(write.data):
        return True
    if isinstance(write, InPieces):
        return redact.shows_in(write.pieces)
    if isinstance(value, Path):
        return redact.shows_in_file(value)
    for accepts, texts in _INSIDE:
        if accepts(value):
            found = (text.encode(errors="backslashreplace") for text in texts(value))
            return any(map(redact.shows, found))
    return False


def _of_table(value: Any) -> Iterator[str]:
    frame = value.to_frame(name=str(value.name)) if value.ndim == 1 else value
    named = (*frame.columns, *frame.columns.names, *frame.index.names, frame.attrs)
    yield "\n".join(map(str, named))
    columns = (frame.iloc[:, number] for number in range(frame.shape[1]))
    for column in (frame.index, *columns):
        if not _is_numeric(column.dtype):
            yield "\n".join(map(_of_cell, column))
            yield "\n".join(map(str, getattr(column.dtype, "categories", ())))  # unused ones, too


def _of_cell(cell: Any) -> str:
    # numpy leaves out the middle of a long array.
    return str(cell.tolist() if isinstance(cell, np.ndarray) else cell)


def _is_numeric(dtype: Any) -> bool:
    return getattr(dtype, "kind", "O") in "biufcmM"


def _of_figure(value: Any) -> Iterator[str]:
    text = sys.modules["matplotlib.text"].Text
    yield from (found.get_text() for found in value.findobj(text))


def _of_ommx(value: Any) -> Iterator[str]:
    yield json.dumps(dict(value.annotations))


_INSIDE: tuple[tuple[Callable[[Any], bool], Callable[[Any], Iterator[str]]], ...] = (
    (instance_of("pandas", "DataFrame"), _of_table),
    (instance_of("pandas", "Series"), _of_table),
    (instance_of("matplotlib.figure", "Figure"), _of_figure),
    (lambda value: hasattr(value, "annotations") and hasattr(value, "to_v2_bytes"), _of_ommx),
)
