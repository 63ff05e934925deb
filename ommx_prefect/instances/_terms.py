"""The terms of many polynomials as sorted arrays of positions and coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Terms:
    """Coefficients and their positions, each position once, sorted, without zeros.

    A place is one line of `places`: (row, column) for the matrix, (i, j) with i <= j for the
    objective's quadratic part, (row, i, j) for that of the rows.
    """

    places: Ints
    values: Floats

    @classmethod
    def of(cls, axes: Sequence[Any], values: Any) -> Terms:
        """Sort the terms, and add up those that stand at one place."""
        places = np.column_stack([np.asarray(axis, np.int64) for axis in axes])
        amounts = np.asarray(values, np.float64)
        keys = _keys(places)
        if not (np.diff(keys) > 0).all():
            order = np.argsort(keys, kind="stable")
            places, amounts = _added_up(keys[order], places[order], amounts[order])
        kept = amounts != 0
        return cls(places, amounts) if kept.all() else cls(places[kept], amounts[kept])

    @classmethod
    def products(cls, rows: Sequence[Any], i: Any, j: Any, values: Any) -> Terms:
        """Return terms whose last two axes are the columns of a product, in either order."""
        return cls.of([*rows, np.minimum(i, j), np.maximum(i, j)], values)

    @classmethod
    def none(cls, axes: int) -> Terms:
        """Return no terms, with so many axes."""
        return cls(np.zeros((0, axes), np.int64), np.zeros(0))

    def __len__(self) -> int:
        return len(self.values)

    def moved(self, *numbers: Ints | None) -> Terms:
        """Return the same terms with new numbers of rows and columns, one array for each axis."""
        axes = [
            axis if number is None else number[axis]
            for axis, number in zip(self.places.T, numbers, strict=True)
        ]
        if len(axes) > 1 and numbers[-1] is numbers[-2] is not None:
            return Terms.products(axes[:-2], axes[-2], axes[-1], self.values)
        return Terms.of(axes, self.values)

    def scaled(self, factors: Floats) -> Terms:
        """Return the terms times the factor of their row, which is the first axis."""
        return Terms(self.places, self.values * factors[self.places[:, 0]])


def _keys(places: Ints) -> Ints:
    """Return one number for each place, in the order of the places."""
    keys = np.zeros(len(places), np.int64)
    for axis in places.T:
        keys *= int(axis.max(initial=0)) + 1
        keys += axis
    return keys


def _added_up(keys: Ints, places: Ints, values: Floats) -> tuple[Ints, Floats]:
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    if len(starts) == len(keys):
        return places, values
    return places[starts], np.add.reduceat(values, starts)
