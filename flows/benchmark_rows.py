"""What is known of each solve of a benchmark, and how far is it from the best?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Columns = tuple[tuple[str, str, str], ...]

# Columns are key, title, format; one without values is not shown.
SOLVED_BY: Columns = (("adapter", "adapter", "s"), ("variant", "variant", "s"))
SUMMARY_COLUMNS: Columns = (
    ("instance", "instance", "s"),
    ("variables", "vars", "d"),
    ("constraints", "cons", "d"),
    *SOLVED_BY,
    ("seed", "seed", "d"),
    ("outcome", "outcome", "s"),
    ("objective", "objective", ".10g"),
    ("gap_to_best", "gap to best", ".2%"),
    ("seconds", "seconds", ".2f"),
    ("reason", "reason", "s"),
)
TOTALS_COLUMNS: Columns = (
    *SOLVED_BY,
    ("runs", "runs", "d"),
    ("optimal", "optimal", "d"),
    ("feasible", "feasible", "d"),
    ("other", "other", "d"),
    ("best", "best", "d"),
    ("seconds_mean", "mean seconds", ".2f"),
    ("par", "PAR-10", ".2f"),
)
CONTRADICTION_COLUMNS: Columns = (
    ("instance", "instance", "s"),
    ("kind", "kind", "s"),
    ("claim_by", "claim by", "s"),
    ("claim", "claim", "s"),
    ("against_by", "against", "s"),
    ("against", "which says", "s"),
)
# Keys by which rows are sorted.
ORDER = ("instance", "source", "adapter", "variant", "seed")


@dataclass(frozen=True)
class Choice:
    """How an instance is solved: by which solver, with which options, seed and checkpoints."""

    adapter: str
    options: tuple[tuple[str, Any], ...] = ()
    seed: int | None = None
    checkpoint_seconds: float | None = None

    @property
    def variant(self) -> str:
        """The options as a word; empty for the solver as it is."""
        return ", ".join(f"{name}={value}" for name, value in self.options)

    def row(self, instance: str, source: str, **known: str) -> Row:
        """Return the row of an instance solved like this, as long as nothing came of it."""
        return row_of(instance, source, self.adapter, self.seed, variant=self.variant, **known)


def row_of(
    instance: str, source: str, adapter: str | None = None, seed: int | None = None, **known: str
) -> Row:
    """Return a row that has every key, and the outcome `error` until something better is known."""
    row: Row = dict.fromkeys(key for key, _, _ in SUMMARY_COLUMNS)
    return row | {
        "instance": instance,
        "source": source,
        "adapter": adapter,
        "variant": "" if adapter else None,
        "seed": seed,
        "outcome": "error",
        **known,
    }


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return the rows in the order of names; None comes first, and seeds count as numbers."""
    return sorted(
        rows, key=lambda row: [(x is not None, 0 if x is None else x) for x in map(row.get, ORDER)]
    )


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


def grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Return the rows by the values of some keys."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups
