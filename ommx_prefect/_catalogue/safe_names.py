"""File names for attachments: the names users gave, made valid on every file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

from ommx_prefect._format.model import (
    INSTANCE_MEDIA_TYPE,
    PARAMETRIC_INSTANCE_MEDIA_TYPE,
    SAMPLE_SET_MEDIA_TYPE,
    SOLUTION_MEDIA_TYPE,
)

LONGEST = 100
# Names that Windows keeps for devices, whatever their suffix.
DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{x}{n}" for x in ("com", "lpt") for n in range(1, 10))}
)
SUFFIXES = {
    "application/json": ".json",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.numpy": ".npy",
    "application/vnd.plotly.v1+json": ".json",
    "application/octet-stream": ".bin",
    INSTANCE_MEDIA_TYPE: ".instance",
    PARAMETRIC_INSTANCE_MEDIA_TYPE: ".parametric-instance",
    SOLUTION_MEDIA_TYPE: ".solution",
    SAMPLE_SET_MEDIA_TYPE: ".sample-set",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
}


def safe_name(name: str, media_type: str = "", filename: str = "") -> str:
    """Return a file name without folders, control characters, or what a system keeps for itself.

    Args:
        name: The name of an attachment, which may hold anything.
        media_type: What it is, which gives its suffix.
        filename: The name of the file that it was, where it was one.
    """
    kept = re.sub(r"[^\w.+-]+", "_", filename or name, flags=re.ASCII).lstrip(".-").rstrip(".")
    suffix = SUFFIXES.get(media_type.partition(";")[0].strip(), "")
    stem, dot, own = kept.rpartition(".")
    if not (dot and stem and re.fullmatch(r"[A-Za-z]\w{0,7}", own)):
        stem, own = kept, ""
    suffix = f".{own}" if own else suffix
    stem = stem[: LONGEST - len(suffix)] or "unnamed"
    if stem.partition(".")[0].lower() in DEVICES:
        stem = f"_{stem}"
    return f"{stem}{suffix}"


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name that no other file of a folder has, whatever the case, and take it."""
    found = next(x for x in _numbered(name) if x.lower() not in taken)
    taken.add(found.lower())
    return found


def _numbered(name: str) -> Iterator[str]:
    yield name
    stem, dot, suffix = name.rpartition(".")
    for number in count(2):
        yield f"{stem}-{number}.{suffix}" if dot else f"{name}-{number}"
