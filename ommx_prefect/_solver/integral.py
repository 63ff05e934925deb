"""The primal-dual integral of a solve: the area under its gap over time.

Timo Berthold, "Measuring the impact of primal heuristics", Operations Research Letters 41 (2013):
the gap is a step function of time, |primal - dual| / max(|primal|, |dual|), 0 where both agree, and
1 where there is no incumbent, no bound, or the two have different signs. Its integral from 0 to
the end has the unit of time: 0 is best, and the seconds of the solve are worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """What a solver knew at one moment: its seconds, both bounds, and the nodes behind it."""

    seconds: float
    primal: float | None = None
    dual: float | None = None
    nodes: int | None = None


def clipped_gap(primal: float | None, dual: float | None) -> float:
    """Return the relative gap, at most 1; 1 where a bound is missing."""
    if primal is None or dual is None:
        return 1.0
    if primal == dual:
        return 0.0
    if primal * dual < 0:
        return 1.0
    return min(1.0, abs(primal - dual) / max(abs(primal), abs(dual)))


def primal_dual_integral(rows: Sequence[Row], seconds: float) -> float:
    """Return the integral of the gap in seconds.

    Args:
        rows: In the order of time; each holds until the next.
        seconds: When the solver ended.
    """
    total, since, gap = 0.0, 0.0, 1.0
    for row in rows:
        until = min(max(row.seconds, since), seconds)
        total += gap * (until - since)
        since, gap = until, clipped_gap(row.primal, row.dual)
    return total + gap * (seconds - since)
