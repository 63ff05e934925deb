"""What is known of each solve of a benchmark, how far is it from the best, and what is the sum?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
Columns = tuple[tuple[str, str, str], ...]

SUMMARY_COLUMNS: Columns = (
    # key, title, format; a column without values is not shown
    ("instance", "instance", "s"),
    ("variables", "vars", "d"),
    ("constraints", "cons", "d"),
    ("adapter", "adapter", "s"),
    ("seed", "seed", "d"),
    ("outcome", "outcome", "s"),
    ("objective", "objective", ".10g"),
    ("gap_to_best", "gap to best", ".2%"),
    ("seconds", "seconds", ".2f"),
    ("reason", "reason", "s"),
)
TOTALS_COLUMNS: Columns = (
    ("adapter", "adapter", "s"),
    ("runs", "runs", "d"),
    ("optimal", "optimal", "d"),
    ("feasible", "feasible", "d"),
    ("other", "other", "d"),
    ("mean_seconds", "mean seconds", ".2f"),
)
# Keys by which rows are sorted.
ORDER = ("instance", "source", "adapter", "seed")
# Outcomes of a solver that ran: their times count in the mean.
RAN = frozenset({"optimal", "feasible", "no_solution", "infeasible", "unbounded"})


def row_of(
    instance: str, source: str, adapter: str | None = None, seed: int | None = None, **known: str
) -> Row:
    """Return a row that has every key, and the outcome `error` until something better is known."""
    row: Row = dict.fromkeys(key for key, _, _ in SUMMARY_COLUMNS)
    return row | {
        "instance": instance,
        "source": source,
        "adapter": adapter,
        "seed": seed,
        "outcome": "error",
        **known,
    }


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return the rows in the order of names; None comes first, and seeds count as numbers."""
    return sorted(rows, key=lambda row: [(row[key] is not None, row[key] or 0) for key in ORDER])


def fill_gaps(rows: Iterable[Row]) -> None:
    """Fill in each objective's distance to the best one that this benchmark found.

    gap_to_best = |objective - best| / max(|objective|, |best|), and 0 where both are 0.
    """
    solved = grouped((row for row in rows if row["objective"] is not None), "source", "instance")
    for group in solved.values():
        choose = min if group[0]["sense"] == "minimize" else max
        best = choose(row["objective"] for row in group)
        for row in group:
            scale = max(abs(row["objective"]), abs(best))
            row["gap_to_best"] = abs(row["objective"] - best) / scale if scale else 0.0


def totals_of(rows: Iterable[Row]) -> list[Row]:
    """Count the outcomes of each adapter, and take the mean of its seconds.

    The mean is the geometric one, shifted by 1 s: exp(sum(log(seconds + 1)) / n) - 1 over the n
    solves in which the solver ran. One that came to the limit counts with the time it took.
    """
    groups = grouped((row for row in rows if row["adapter"]), "adapter")
    return [
        {
            "adapter": adapter,
            "runs": len(group),
            "optimal": sum(row["outcome"] == "optimal" for row in group),
            "feasible": sum(row["outcome"] == "feasible" for row in group),
            "other": sum(row["outcome"] not in ("optimal", "feasible") for row in group),
            "mean_seconds": shifted_mean([r["seconds"] for r in group if r["outcome"] in RAN]),
        }
        for (adapter,), group in sorted(groups.items())
    ]


def shifted_mean(seconds: list[float]) -> float | None:
    """Return the geometric mean, shifted by 1 s; None of nothing."""
    if not seconds:
        return None
    return math.expm1(sum(map(math.log1p, seconds)) / len(seconds))


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows by the values of some keys."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups
