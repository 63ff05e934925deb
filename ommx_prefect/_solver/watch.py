"""Collect what a solver reports while it runs, from callbacks in its thread.

A callback must be quick and must not raise: a solver ends with an error for it. So it leaves rows
of numbers and, of the best solution, its values; what is made of them is made in the task's thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ommx_prefect._solver.integral import Row

# Solvers write plus or minus infinity so, or greater.
INFINITY = 1e20
# From so many rows on, every second one that tells of no new solution goes.
MOST_ROWS = 4_000
# Which share of the solver's time reading its solutions may take.
READING_SHARE = 0.003


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The best solution of a solver at one moment: a value for each OMMX variable id."""

    ids: Sequence[int]
    values: Sequence[float]
    objective: float | None
    dual: float | None


class Watch:
    """Collects the progress that callbacks report.

    Args:
        reads_at_nodes: Whether a solution that is not read when it is found is read at a node.

    Attributes:
        rows: What was told, in the order of time.
        incumbents: How many solutions were each better than the one before.
        is_counted: Whether that is all of them.
        first_seconds: When the first was found, by the solver's clock.
        newest: The best solution that was read.
        problem: What went wrong in a callback.
        diagnostics: What OMMX's own analyzers read.
        counts: Figures at the end that only the solver's log tells, by name.
    """

    def __init__(self, *, reads_at_nodes: bool = False) -> None:
        self.rows: list[Row] = []
        self.incumbents = 0
        self.is_counted = True
        self.first_seconds: float | None = None
        self.newest: Incumbent | None = None
        self.problem: BaseException | None = None
        self.diagnostics: list[Any] = []
        self.counts: dict[str, Any] = {}
        self.reads_at_nodes = reads_at_nodes
        self._is_unread = False
        self._began = time.perf_counter()
        self._spent = 0.0

    def progress(
        self, seconds: float, primal: float, dual: float, nodes: int, *, is_new: bool = False
    ) -> None:
        """Note both bounds, and whether the primal one is of a new solution."""
        if is_new:
            self.incumbents += 1
            self._is_unread = True
            if self.first_seconds is None:
                self.first_seconds = seconds
        self.rows.append(Row(seconds, known(primal), known(dual), max(0, nodes)))
        if len(self.rows) >= MOST_ROWS:
            self._thin()

    @property
    def wants_values(self) -> bool:
        """Whether the values of the best solution are to be read now: it may not take long."""
        return (
            self._is_unread
            and self._spent <= READING_SHARE * (time.perf_counter() - self._began) + 0.001
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count the time that reading a solution takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - start

    def found(self, incumbent: Incumbent) -> None:
        """Take the values of the best solution."""
        self.newest, self._is_unread = incumbent, False

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Catch the exceptions of a callback: a solver would end with an error."""
        try:
            yield
        except BaseException as error:
            self.problem = self.problem or error

    def _thin(self) -> None:
        rows = self.rows
        kept = [
            row
            for number, row in enumerate(rows)
            if number % 2 or not number or row.primal != rows[number - 1].primal
        ]
        self.rows[:] = kept


def known(value: float | None) -> float | None:
    """Return a number that a solver tells; None where it stands for infinity or nothing."""
    if value is None:
        return None
    value = float(value)
    return value if math.isfinite(value) and abs(value) < INFINITY else None
