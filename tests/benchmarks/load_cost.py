"""What `load_instance` costs beside the readers that it compares, each alone.

python -m tests.benchmarks.load_cost                     # to 1,000,000 entries
python -m tests.benchmarks.load_cost --entries 100000
python -m tests.benchmarks.load_cost --tiny              # 5,000 entries; for CI
python -m tests.benchmarks.load_cost --write             # and write the table of docs/costs.md
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import tests.benchmarks.quiet  # noqa: F401 (first: it sets what Prefect and OMMX read)

# isort: split
from ommx import Instance

from ommx_prefect.instances import load_instance
from ommx_prefect.instances._highs_reader import silent_highs
from tests.benchmarks.measures import alternating, ratio, report, shown, table
from tests.benchmarks.options import size_and_rounds
from tests.benchmarks.quiet import SCRATCH

ENTRIES_OF_A_COLUMN = 10
TITLES = ("entries", "MB", "HiGHS, ms", "OMMX, ms", "`load_instance`, ms", "times HiGHS", "as .lp")


def lines_of(entries: int) -> Iterator[str]:
    """Yield an MPS file: integer columns of ten entries each, rows of twenty in the mean."""
    columns = entries // ENTRIES_OF_A_COLUMN
    rows = columns // 2
    dice = random.Random(entries)
    yield from ("NAME drawn", "ROWS", " N COST", *(f" L R{row}" for row in range(rows)), "COLUMNS")
    yield "    MARKER                 'MARKER'                 'INTORG'"
    for column in range(columns):
        yield f"    x{column}  COST  {dice.randint(1, 100)}"
        for row in sorted(dice.sample(range(rows), ENTRIES_OF_A_COLUMN)):
            yield f"    x{column}  R{row}  {dice.uniform(1, 9):.6f}"
    yield "    MARKER                 'MARKER'                 'INTEND'"
    yield from ("RHS", *(f"    RHS  R{row}  100" for row in range(rows)))
    yield from ("BOUNDS", *(f" UP BND  x{column}  1" for column in range(columns)), "ENDATA")


def by_highs(path: Path) -> None:
    """Read a file with HiGHS alone, and make nothing of it."""
    silent_highs().readModel(str(path))


def row_of(entries: int, rounds: int) -> list[str]:
    """Measure a file of one size, and the same model as HiGHS writes it in the LP format."""
    path = Path(SCRATCH, f"{entries}.mps")
    path.write_text("\n".join(lines_of(entries)) + "\n")
    model = silent_highs()
    model.readModel(str(path))
    model.writeModel(str(path.with_suffix(".lp")))
    ways = {
        "highs": lambda: by_highs(path),
        "ommx": lambda: Instance.load_mps(str(path)),
        "ours": lambda: load_instance(path),
        "lp": lambda: load_instance(path.with_suffix(".lp")),
        "highs, lp": lambda: by_highs(path.with_suffix(".lp")),
    }
    found = {name: each.wall for name, each in alternating(ways, rounds).items()}
    return [
        f"{entries:,}",
        f"{path.stat().st_size / 1e6:.1f}",
        *(shown(found[name]) for name in ("highs", "ommx", "ours")),
        ratio(found["ours"], found["highs"]),
        ratio(found["lp"], found["highs, lp"]),
    ]


def main() -> None:
    """Measure and print."""
    options = size_and_rounds(__doc__, "--entries", size=1_000_000, rounds=7, tiny=5_000)
    sizes = {size for size in (10_000, 100_000) if size < options.size} | {options.size}
    rows = [row_of(size, options.rounds) for size in sorted(sizes)]
    report("load_cost", table(TITLES, rows), write=options.write)


if __name__ == "__main__":
    main()
