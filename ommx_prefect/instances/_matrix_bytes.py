"""Write a model's arrays as bytes, and read them back, to pass them between two processes."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from typing import Any

import numpy as np

from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._terms import Terms

_TERMS = ("entries", "products", "row_products")


def matrix_to_bytes(model: Matrix) -> bytes:
    """Return a model as an npz file; names and scalars are one JSON text in it."""
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for field in fields(model):
        value = getattr(model, field.name)
        if isinstance(value, Terms):
            arrays[f"{field.name}.places"], arrays[f"{field.name}.values"] = (
                value.places,
                value.values,
            )
        elif isinstance(value, np.ndarray):
            arrays[field.name] = value
        else:
            plain[field.name] = value
    text = json.dumps(plain).encode()
    buffer = io.BytesIO()
    np.savez(buffer, _plain=np.frombuffer(text, np.uint8), **arrays)
    return buffer.getvalue()


def matrix_from_bytes(content: bytes) -> Matrix:
    """Return the model that `matrix_to_bytes` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        parts: dict[str, Any] = {name: archive[name] for name in archive.files}
    plain = json.loads(parts.pop("_plain").tobytes())
    for name in _TERMS:
        parts[name] = Terms(parts.pop(f"{name}.places"), parts.pop(f"{name}.values"))
    for name in ("columns", "rows", "remarks"):
        parts[name] = tuple(plain.pop(name))
    return Matrix(**parts, **plain)
