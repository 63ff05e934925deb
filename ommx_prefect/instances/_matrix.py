"""A model as arrays, in a form that does not depend on the reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ommx_prefect.instances._terms import Floats, Terms

CONTINUOUS, INTEGER, SEMI_CONTINUOUS, SEMI_INTEGER = range(4)
COLUMN_FIGURES = ("kinds", "lower", "upper", "costs")
ROW_FIGURES = ("row_lower", "row_upper")

KIND_NAMES = ("continuous", "integer", "semi-continuous", "semi-integer")

# HiGHS and SCIP both take a bound of this size for none, as the writers of the format mean it.
INFINITE = 1e20


@dataclass(frozen=True)
class Matrix:
    """One model: min or max c'x + x'Qx + constant, row bounds on Ax + x'Qx, column bounds.

    Quadratic terms are coefficients as they stand before the product: 3 for 3xy, 2 for 2x².
    """

    title: str
    maximize: bool
    constant: float
    columns: tuple[str, ...]
    kinds: npt.NDArray[np.uint8]
    lower: Floats
    upper: Floats
    costs: Floats
    rows: tuple[str, ...]
    row_lower: Floats
    row_upper: Floats
    entries: Terms
    products: Terms
    row_products: Terms
    remarks: tuple[str, ...] = ()
    """What the reader warned of; no part of the model."""

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        return len(self.rows), len(self.columns)


def matrix(*, lower: Any, upper: Any, row_lower: Any, row_upper: Any, **parts: Any) -> Matrix:
    """Make a Matrix of lists or arrays; bounds beyond 1e20 become infinite.

    An integer column between 0.5 and 3.7 is one between 1 and 3.
    """
    kinds = np.asarray(parts.pop("kinds"), np.uint8)
    whole = (kinds == INTEGER) | (kinds == SEMI_INTEGER)
    low, high = bounded(lower), bounded(upper)
    return Matrix(
        kinds=kinds,
        lower=np.where(whole, np.ceil(low), low),
        upper=np.where(whole, np.floor(high), high),
        costs=np.asarray(parts.pop("costs"), np.float64) + 0.0,
        row_lower=bounded(row_lower),
        row_upper=bounded(row_upper),
        columns=tuple(parts.pop("columns")),
        rows=tuple(parts.pop("rows")),
        **parts,
    )


def bounded(values: Any) -> Floats:
    """Return bounds with values beyond 1e20 made infinite, and -0.0 made 0.0."""
    bounds = np.asarray(values, np.float64) + 0.0
    return np.where(np.abs(bounds) >= INFINITE, np.copysign(np.inf, bounds), bounds)
