"""Build OMMX's Instance from the arrays of a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ommx import (
    Constraint,
    DecisionVariable,
    Equality,
    Function,
    Instance,
    Linear,
    Quadratic,
    Sense,
)

from ommx_prefect.instances._matrix import INTEGER, SEMI_CONTINUOUS, SEMI_INTEGER, Matrix
from ommx_prefect.instances._terms import Ints, Terms

_VARIABLES = {
    INTEGER: DecisionVariable.integer,
    SEMI_CONTINUOUS: DecisionVariable.semi_continuous,
    SEMI_INTEGER: DecisionVariable.semi_integer,
}


def build_instance(model: Matrix) -> Instance:
    """Return the Instance; ids are the positions of columns and rows, as OMMX's loader has them.

    A row with two bounds is two constraints, the second named `R_` and behind all others. A column
    whose bounds leave nothing (lower 5, upper 3) keeps its lower bound, and the upper one is a
    constraint: OMMX has no empty bound, and the model is as infeasible.
    """
    instance = Instance.from_components(
        decision_variables=list(_variables(model)),
        objective=_objective(model),
        constraints=dict(enumerate(_constraints(model))),
        sense=Sense.Maximize if model.maximize else Sense.Minimize,
    )
    if model.title:
        instance.title = model.title
    return instance


def left_out(model: Matrix) -> tuple[str, ...]:
    """Return the names of rows without a bound, which are no constraints."""
    free = np.isinf(model.row_lower) & np.isinf(model.row_upper)
    return tuple(model.rows[row] for row in np.flatnonzero(free))


def emptied(model: Matrix) -> tuple[str, ...]:
    """Return the names of columns whose bounds exclude every value."""
    return tuple(model.columns[column] for column in _empty(model))


def _empty(model: Matrix) -> Ints:
    return np.flatnonzero(model.lower > model.upper)


def _variables(model: Matrix) -> Iterator[DecisionVariable]:
    upper = np.where(model.lower > model.upper, np.inf, model.upper)
    kinds, bounds = model.kinds.tolist(), zip(model.lower.tolist(), upper.tolist(), strict=True)
    for column, (kind, (low, high), name) in enumerate(
        zip(kinds, bounds, model.columns, strict=True)
    ):
        if kind == INTEGER and (low, high) == (0.0, 1.0):
            yield DecisionVariable.binary(column, name=name)
        else:
            make = _VARIABLES.get(kind, DecisionVariable.continuous)
            yield make(column, lower=low, upper=high, name=name)


def _objective(model: Matrix) -> Function:
    used = np.flatnonzero(model.costs)
    costs = dict(zip(used.tolist(), model.costs[used].tolist(), strict=True))
    linear = Linear(terms=costs, constant=model.constant)
    if not len(model.products):
        return Function.from_linear(linear)
    return _quadratic(model.products.places, model.products.values, linear)


def _quadratic(places: Ints, values: Any, linear: Linear) -> Function:
    i, j = places.T.tolist()
    return Function.from_quadratic(Quadratic(i, j, values.tolist(), linear))


@dataclass
class _Row:
    """One row's terms, ready to become one constraint or two."""

    name: str
    terms: dict[int, float]
    products: tuple[Ints, Any] | None

    def constraint(self, sign: float, bound: float, equality: Equality, tail: str) -> Constraint:
        """Return `sign * (row - bound)` as a constraint."""
        terms = self.terms if sign > 0 else {key: -value for key, value in self.terms.items()}
        linear = Linear(terms=terms, constant=-sign * bound + 0.0)
        function: Linear | Function = linear
        if self.products is not None:
            places, values = self.products
            function = _quadratic(places, sign * values, linear)
        return Constraint(function=function, equality=equality, name=self.name + tail)


def _constraints(model: Matrix) -> Iterator[Constraint]:
    at_most, equal = Equality.LessThanOrEqualToZero, Equality.EqualToZero
    second = []
    bounds = zip(model.row_lower.tolist(), model.row_upper.tolist(), strict=True)
    for row, (low, high) in zip(_rows(model), bounds, strict=True):
        if low == high:
            yield row.constraint(1.0, high, equal, "")
        elif high < np.inf:
            yield row.constraint(1.0, high, at_most, "")
            if low > -np.inf:
                second.append(row.constraint(-1.0, low, at_most, "_"))
        elif low > -np.inf:
            yield row.constraint(-1.0, low, at_most, "")
    yield from second
    for column in _empty(model):
        row = _Row(f"{model.columns[column]}_upper", {int(column): 1.0}, None)
        yield row.constraint(1.0, float(model.upper[column]), at_most, "")


def _rows(model: Matrix) -> Iterator[_Row]:
    columns, values = model.entries.places[:, 1].tolist(), model.entries.values.tolist()
    cuts = _cuts(model.entries, len(model.rows))
    products = _products_of_rows(model)
    for row, (name, (start, end)) in enumerate(zip(model.rows, pairwise(cuts), strict=True)):
        terms = dict(zip(columns[start:end], values[start:end], strict=True))
        yield _Row(name, terms, products.get(row))


def _cuts(terms: Terms, rows: int) -> list[int]:
    """Return where each row's terms begin, and the end."""
    cuts: list[int] = np.searchsorted(terms.places[:, 0], np.arange(rows + 1)).tolist()
    return cuts


def _products_of_rows(model: Matrix) -> dict[int, tuple[Ints, Any]]:
    terms = model.row_products
    cuts = _cuts(terms, len(model.rows)) if len(terms) else []
    return {
        row: (terms.places[start:end, 1:], terms.values[start:end])
        for row, (start, end) in enumerate(pairwise(cuts))
        if end > start
    }
