"""Disk space of experiments, by the sizes in their manifests, each blob counted once."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ommx_prefect._format.parts import PARTS
from ommx_prefect._registry.blobs import read_blob
from ommx_prefect._registry.parts import places_in


def layer_sizes(digest: str) -> dict[str, int]:
    """Return the sizes in bytes of all blobs of an experiment by digest, its manifest included.

    Those of its parts are among them.

    Raises:
        DocumentError: Its manifest is missing or damaged.
    """
    data = read_blob(digest)
    manifest = json.loads(data)
    sizes = {digest: len(data)}
    for each in (manifest["config"], *manifest["layers"]):
        sizes[each["digest"]] = int(each["size"])
    if PARTS in (manifest.get("annotations") or {}):
        for place in places_in(digest):
            sizes |= layer_sizes(place.digest)
    return sizes


def own_bytes(experiments: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return for each experiment how many bytes no other one of these shares."""
    users = Counter(digest for sizes in experiments.values() for digest in sizes)
    return {
        name: sum(size for digest, size in sizes.items() if users[digest] == 1)
        for name, sizes in experiments.items()
    }


def total_bytes(experiments: Iterable[Mapping[str, int]]) -> int:
    """Return the size of all blobs of the given experiments, each counted once."""
    blobs: dict[str, int] = {}
    for sizes in experiments:
        blobs |= sizes
    return sum(blobs.values())


def stage_bytes(folder: Path) -> int:
    """Return the bytes of a stage, without those that are hard links to blobs of the registry."""
    found = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(where, name))
                found += status.st_size if status.st_nlink == 1 else 0
    return found
