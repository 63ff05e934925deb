"""Read the progress of CBC from its log, since it has no usable callback.

CBC (cbcbox 2.935) prints tables: rounds of the feasibility pump, heuristics at the root, passes of
cuts, and the tree, a row at least every 0.7 seconds. A star marks each new solution, but in the
tree of several threads, which `threads=1` is, too. Numbers have six digits. What is not understood,
as the log of another version, tells nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ommx_prefect._solver.integral import Row

Words: TypeAlias = Sequence[str]

_STARS = ("★", "*")
_BARS = str.maketrans({"│": " ", "|": " ", "★": " "})
_NONE = ("—", "-")
# What is known before the first table; a start has the time of its check.
_START = re.compile(r"^Cbc\d+I MIPStart provided solution")
_SOLUTION = re.compile(r"^Cbc\d+I Integer solution of (\S+) found .*\((\S+) seconds\)")
_COUNTS = (
    ("nodes", re.compile(r"^Enumerated nodes:\s+(\d+)")),
    ("iterations", re.compile(r"^Total iterations:\s+(\d+)")),
    ("seconds", re.compile(r"^Total time \(Wallclock seconds\):\s+(\S+)")),
)


@dataclass
class CbcLog:
    """The progress and the statistics that a log of CBC holds.

    Attributes:
        rows: In the order of time, each with what stands in it alone.
        counts: `nodes`, `iterations` and `seconds` at the end, as far as they are told.
        has_tree: Whether the table of the tree was there.
    """

    rows: list[Row] = field(default_factory=list)
    counts: dict[str, float] = field(default_factory=dict)
    has_tree: bool = False

    @property
    def is_understood(self) -> bool:
        """Whether the log has the time of each solution and bound."""
        return "seconds" in self.counts and (self.has_tree or self.counts.get("nodes") == 0)


def read_log(text: str) -> CbcLog:
    """Read the log of one run."""
    log = CbcLog()
    table: _Table | None = None
    clock, is_start = 0.0, False
    for line in text.splitlines():
        words = line.translate(_BARS).replace("*", " ").split()
        if (head := _headed(words)) is not None:
            table = head
            log.has_tree |= table is _of_tree
        elif not words:
            table = None
        elif _START.match(line):
            is_start = True
        elif found := _SOLUTION.match(line):
            log.rows.append(Row(0.0 if is_start else float(found[2]), float(found[1])))
            is_start = False
        elif table is None:
            _count(line, log.counts)
        elif row := _row(table, words, clock, is_new=line.lstrip().startswith(_STARS)):
            clock = row.seconds
            log.rows.append(row)
    # Times in tables are rounded: one may be beyond the end.
    end = log.counts.get("seconds", math.inf)
    log.rows = [row._replace(seconds=min(row.seconds, end)) for row in log.rows]
    log.rows.sort(key=lambda row: row.seconds)  # solutions of the root stand in the tree's table
    return log


def _count(line: str, counts: dict[str, float]) -> None:
    for name, pattern in _COUNTS:
        if found := pattern.match(line):
            counts[name] = float(found[1]) if name == "seconds" else int(found[1])


_Table: TypeAlias = "Callable[[Words, float, bool], Row]"


def _row(table: _Table, words: Words, clock: float, *, is_new: bool) -> Row | None:
    try:
        return table(words, clock, is_new)
    except (ValueError, IndexError):  # a line between the rows
        return None


def _of_tree(words: Words, clock: float, is_new: bool) -> Row:
    nodes, _, _ = (int(word) for word in words[:3])
    return Row(float(words[-1]), _number(words[3]), _number(words[-3]), nodes)


def _of_pump(words: Words, clock: float, is_new: bool) -> Row:
    return Row(float(words[-1]), _number(words[-2]) if is_new else None)


def _of_heuristic(words: Words, clock: float, is_new: bool) -> Row:
    taken = float(words[-1])  # by this one alone
    return Row(clock + taken, _number(words[-2]) if is_new else None)


def _of_cuts(words: Words, clock: float, is_new: bool) -> Row:
    *_, dual, seconds = (float(word) for word in words)
    return Row(seconds, None, dual)


_HEADS: tuple[tuple[Words, _Table], ...] = (
    (("Nodes", "OnTree", "Depth", "BestSol"), _of_tree),
    (("Round", "Pass", "Fractional"), _of_pump),
    (("Heuristic", "Status", "BestSol"), _of_heuristic),
    (("Pass", "Rows", "Tight", "Frac"), _of_cuts),
)


def _headed(words: Words) -> _Table | None:
    return next((table for head, table in _HEADS if tuple(words[: len(head)]) == head), None)


def _number(word: str) -> float | None:
    return None if word in _NONE else float(word) + 0.0  # not -0.0
