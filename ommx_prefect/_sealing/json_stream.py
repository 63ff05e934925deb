"""Write a JSON document item by item, in the very text of `json.dumps(..., indent=1)`.

A ledger has two objects for each Run. Made one by one they take the memory of one; and what is flat
is written without the encoder, which is Python's own where it indents.
"""

from __future__ import annotations

import functools
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any

_encoder = json.JSONEncoder(ensure_ascii=False, indent=1)
_LINES = ",\n"
# Exact type -> its text.
_LEAVES: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: int.__repr__,
    float: lambda value: float.__repr__(value) if math.isfinite(value) else _encoder.encode(value),
    list: lambda value: "[]" if not value else "",
}


def written(document: Mapping[str, Any]) -> bytes:
    """Write an object; a value that is an iterator becomes a list, one item at a time."""
    file, separator = io.BytesIO(), "{"
    for key, value in document.items():
        file.write(f"{separator}\n {encode_basestring(key)}: ".encode())
        if isinstance(value, Iterator):
            _write_items(file, value)
        else:
            file.write(_text(value, 1).encode())
        separator = ","
    file.write(b"\n}")
    return file.getvalue()


def _write_items(file: io.BytesIO, items: Iterator[Mapping[str, Any]]) -> None:
    separator = "["
    for item in items:
        lines = [_key_text(key) + _text(value, 3) for key, value in item.items()]
        file.write(f"{separator}\n  {{\n{_LINES.join(lines)}\n  }}".encode())
        separator = ","
    file.write(b"[]" if separator == "[" else b"\n ]")


@functools.lru_cache(maxsize=128)
def _key_text(key: str) -> str:
    return f"   {encode_basestring(key)}: "


def _text(value: Any, depth: int) -> str:
    write = _LEAVES.get(type(value))
    if write is not None and (text := write(value)):
        return text
    return _encoder.encode(value).replace("\n", "\n" + " " * depth)
