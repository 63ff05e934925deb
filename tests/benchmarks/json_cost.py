"""What an output costs that becomes JSON, beside `json.dumps` and SHA-256 of the same value.

python -m tests.benchmarks.json_cost                     # 200,000 small dicts
python -m tests.benchmarks.json_cost --tiny              # 2,000; for CI
python -m tests.benchmarks.json_cost --write             # and write the table of docs/costs.md
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from enum import Enum
from typing import Any

import tests.benchmarks.quiet  # noqa: F401 (first: it sets what Prefect and OMMX read)

# isort: split
from ommx_prefect.codecs import JsonCodec
from tests.benchmarks.measures import alternating, ratio, report, shown, table
from tests.benchmarks.options import size_and_rounds


class Kind(Enum):
    """Something that JSON does not know."""

    BEST = "best"


@dataclasses.dataclass
class Row:
    """A row that JSON does not know."""

    index: int
    gap: float
    status: str


VALUES: dict[str, Callable[[int], Any]] = {
    "dicts of plain values": lambda i: {"index": i, "gap": i / 7, "status": "optimal"},
    "lists of numbers": lambda i: [i, i / 7, i / 11],
    "dicts, each with an enum": lambda i: {"index": i, "gap": i / 7, "status": Kind.BEST},
    "dataclass instances": lambda i: Row(i, i / 7, "optimal"),
}


def by_hand(value: Any) -> None:
    """Do what has to be done: text, bytes, digest."""
    hashlib.sha256(json.dumps(value).encode()).hexdigest()


def ours(value: Any) -> None:
    """Do it as for an output."""
    hashlib.sha256(JsonCodec.encode(value)).hexdigest()


def rows_of(size: int, rounds: int) -> list[list[str]]:
    """Measure each kind of value."""
    rows = []
    for label, make in VALUES.items():
        value = [make(i) for i in range(size)]
        plain = json.loads(JsonCodec.encode(value))  # what `json.dumps` can write
        ways = {"plain": lambda p=plain: by_hand(p), "ours": lambda v=value: ours(v)}
        found = alternating(ways, rounds)
        plain_ms, our_ms = shown(found["plain"].cpu), shown(found["ours"].cpu)
        cell = ratio(found["ours"].cpu, found["plain"].cpu)
        rows.append([f"{size:,} {label}", plain_ms, our_ms, cell])
    return rows


def main() -> None:
    """Measure and print."""
    options = size_and_rounds(__doc__, "--size", size=200_000, rounds=7, tiny=2_000)
    size, rounds = options.size, options.rounds
    titles = ("value", "`json.dumps` and SHA-256, ms of processor", "as an output", "ratio")
    report("json_cost", table(titles, rows_of(size, rounds)), write=options.write)


if __name__ == "__main__":
    main()
