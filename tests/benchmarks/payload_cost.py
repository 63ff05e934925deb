"""What a large output takes beside SHA-256 and a write of its bytes: time, and memory beyond it.

    python -m tests.benchmarks.payload_cost                       # 256 MB
    python -m tests.benchmarks.payload_cost --megabytes 1024
    python -m tests.benchmarks.payload_cost --tiny                # 8 MB; for CI
    python -m tests.benchmarks.payload_cost --write               # and docs/costs.md

The value is made before; memory is the most that the process holds beyond it while it is recorded.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.quiet import SCRATCH  # first: it sets what Prefect and OMMX read

# isort: split
from tests.benchmarks.attempts import new_flow_run_id, record, seal
from tests.benchmarks.measures import PeakMemory, alternating, ratio, report, shown, table
from tests.benchmarks.options import size_and_rounds

MEGABYTE = 2**20
CHUNK = 4 * MEGABYTE
_numbers = itertools.count()


def drawn(megabytes: int) -> bytes:
    """Draw bytes that nothing has stored before."""
    return os.urandom(MEGABYTE) * megabytes + uuid.uuid4().bytes


def file_of(megabytes: int) -> Path:
    """Write a file piece by piece."""
    path, piece = Path(SCRATCH) / f"output-{next(_numbers)}", os.urandom(MEGABYTE)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(piece)
        file.write(uuid.uuid4().bytes)
    return path


def array_of(megabytes: int) -> Any:
    """Make an array."""
    return np.frombuffer(drawn(megabytes)[: megabytes * MEGABYTE], dtype=np.float64).copy()


KINDS: dict[str, Callable[[int], Any]] = {"bytes": drawn, "numpy": array_of, "file": file_of}


def by_hand(value: Any) -> None:
    """Hash and write, in pieces."""
    digest, target = hashlib.sha256(), Path(SCRATCH) / "by-hand"
    with target.open("wb") as file:
        for piece in pieces_of(value):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    target.unlink()


def pieces_of(value: Any) -> Any:
    """Return a value's bytes piece by piece."""
    if isinstance(value, Path):
        with value.open("rb") as file:
            yield from iter(functools.partial(file.read, CHUNK), b"")
        return
    view = memoryview(value).cast("B")
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]


def row_of(kind: str, megabytes: int, rounds: int) -> list[str]:
    """Measure one kind of value."""
    values = iter([KINDS[kind](megabytes) for _ in range(rounds + 1)])
    value = KINDS[kind](megabytes)
    ways = {
        "plain": lambda: by_hand(value),
        "ours": lambda: record(new_flow_run_id(), next(values)),
    }
    found = alternating(ways, rounds)
    fresh = KINDS[kind](megabytes)
    with PeakMemory() as recording:
        attempt = record(new_flow_run_id(), fresh)
    with PeakMemory() as sealing:
        seal(attempt)
    return [
        f"{kind}, {megabytes} MB",
        shown(found["plain"].wall),
        shown(found["ours"].wall),
        ratio(found["ours"].wall, found["plain"].wall),
        f"{recording.megabytes:.0f}",
        f"{sealing.megabytes:.0f}",
    ]


def main() -> None:
    """Measure and print."""
    options = size_and_rounds(__doc__, "--megabytes", size=256, rounds=3, tiny=8)
    size, rounds = options.size, options.rounds
    titles = ("output", "SHA-256 and write, ms", "recorded, ms", "ratio",
              "memory while recorded, MB", "while sealed, MB")  # fmt: skip
    rows = [row_of(kind, size, rounds) for kind in KINDS]
    report("payload_cost", table(titles, rows), write=options.write)


if __name__ == "__main__":
    main()
