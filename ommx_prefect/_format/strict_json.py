"""Parse untrusted JSON strictly: no duplicate keys, only finite numbers, limited depth.

Readers differ in which of two equal keys counts, and some (Go's) take a key in other letters for
the same. So a key that stands twice is refused here, and one in other letters by the closed table
of keys of whatever object it is in.
"""

from __future__ import annotations

import json
from typing import Any

from ommx_prefect.exceptions import DocumentError

# A larger text is not held a second and a third time.
MOST_WRITTEN_AGAIN = 16 * 2**20


def strict_json(data: bytes | str, what: str, *, non_finite: bool = False) -> Any:
    """Parse JSON.

    Args:
        data: The text.
        what: What it is, for the error.
        non_finite: Whether NaN and infinities are among its numbers, as Python writes them.

    Raises:
        DocumentError: It is none, a key stands twice, or it is nested without end.
    """
    constant = None if non_finite else _refuse_constant
    try:
        if (found := _as_written(data)) is not None:
            return found
        return json.loads(data, object_pairs_hook=_unique, parse_constant=constant)
    except RecursionError:
        raise DocumentError(f"the {what} is nested too deeply") from None
    except DocumentError as error:
        raise DocumentError(f"the {what} is refused: {error}") from None
    except ValueError as error:
        raise DocumentError(f"the {what} is not JSON: {error}") from error


_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def _as_written(data: bytes | str) -> Any:
    """Parse JSON that is written as OMMX and this package write it; None for any other text.

    An object that is written again holds each key once. So a text that comes out as it was has none
    twice, and no number but finite ones, which is seen several times faster than key by key.
    """
    if len(data) > MOST_WRITTEN_AGAIN:
        return None
    try:
        text = data if isinstance(data, str) else data.decode()
        found = json.loads(text)
        return found if _compact(found) == text else None
    except ValueError:
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DocumentError(f"the key {twice[:100]!r} stands twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise DocumentError(f"{name} is no number of JSON")
