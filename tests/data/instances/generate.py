"""Write the generated instances of this folder; a seed makes them the same everywhere.

    python tests/data/instances/generate.py

Their optima in `reference.csv` were proved by HiGHS and by SCIP.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
SEED = 20251129
Columns = Iterable[tuple[str, int, dict[str, int]]]


def mps(name: str, rows: dict[str, tuple[str, int]], columns: Columns, bounds: str = "") -> str:
    """Return an instance as free MPS; a row is its sense and right-hand side."""
    lines = [f"NAME {name}", "ROWS", " N cost"]
    lines += [f" {sense} {row}" for row, (sense, _) in rows.items() if row != "cost"]
    lines.append("COLUMNS")
    names = []
    for column, cost, entries in columns:
        names.append(column)
        pairs = {"cost": cost, **entries}
        lines += [f" {column} {row} {value}" for row, value in pairs.items()]
    lines += ["RHS", *(f" rhs {row} {value}" for row, (_, value) in rows.items())]
    if bounds:
        lines += ["BOUNDS", *(f" {bounds} bnd {column}" for column in names)]
    return "\n".join([*lines, "ENDATA", ""])


def packing(chance: random.Random, items: int = 35, knapsacks: int = 10) -> str:
    """A pure binary one: a knapsack of several dimensions, half of whose weight fits."""
    weights = [[chance.randint(10, 99) for _ in range(items)] for _ in range(knapsacks)]
    rows = {f"k{i}": ("L", sum(weight) // 2) for i, weight in enumerate(weights)}
    columns = (
        (f"x{j}", -chance.randint(10, 99), {f"k{i}": weights[i][j] for i in range(knapsacks)})
        for j in range(items)
    )
    return mps("packing35", rows, columns, bounds="BV")


def transport(chance: random.Random, name: str, size: tuple[int, int], constant: int = 0) -> str:
    """A linear one: what plants have goes to customers; with a constant in its objective."""
    plants, customers = map(range, size)
    demand = [chance.randint(5, 50) for _ in customers]
    supply = 1 + sum(demand) * 5 // (4 * len(plants))
    rows = {f"p{i}": ("L", supply) for i in plants}
    rows |= {f"c{j}": ("G", demand[j]) for j in customers}
    rows |= {"cost": ("N", -constant)} if constant else {}
    columns = (
        (f"x{i}_{j}", chance.randint(1, 99), {f"p{i}": 1, f"c{j}": 1})
        for i in plants
        for j in customers
    )
    return mps(name, rows, columns)


def main() -> None:
    """Write the files, and one that is cut off."""
    chance = random.Random(SEED)
    files = {
        "packing35": packing(chance),
        "transport1500": transport(chance, "transport1500", (30, 50)),
        "shifted40": transport(chance, "shifted40", (4, 10), constant=7),
    }
    for name, text in files.items():
        packed = gzip.compress(text.encode(), mtime=0)
        (HERE / f"{name}.mps.gz").write_bytes(packed)
    whole = (HERE / "packing35.mps.gz").read_bytes()
    (HERE / "malformed/packing35-truncated.mps.gz").write_bytes(whole[:600])


if __name__ == "__main__":
    main()
