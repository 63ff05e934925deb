"""Statistics of a solve by CBC that python-mip's model does not give."""

from __future__ import annotations

import functools
import os
from importlib import metadata
from typing import Any


@functools.cache
def cbc_version() -> str | None:
    """Return the version of the package that brings CBC; None where python-mip brings its own."""
    try:
        return f"cbcbox {metadata.version('cbcbox')}"
    except metadata.PackageNotFoundError:
        return None


def threads_of(model: Any) -> int:
    """Return how many threads CBC was given: none named is one, -1 is one for each core."""
    return (os.cpu_count() or 1) if model.threads == -1 else max(1, int(model.threads))
