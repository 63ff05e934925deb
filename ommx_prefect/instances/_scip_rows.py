"""Read the rows of a SCIP model, and its quadratic objective, which SCIP keeps as a row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ommx_prefect.instances._matrix import COLUMN_FIGURES, ROW_FIGURES, Matrix
from ommx_prefect.instances._terms import Ints, Terms
from ommx_prefect.instances._unreadable import Inexpressible

# What SCIP's readers call the row and the column that stand for a quadratic objective.
_OBJECTIVES = (("quadobj", "quadobjvar"), ("qmatrix", "qmatrixvar"))

# SCIP's kinds of constraint that no row is, and what the formats call them.
_NO_ROWS = {
    "SOS1": "a special ordered set (SOS1)",
    "SOS2": "a special ordered set (SOS2)",
    "indicator": "an indicator constraint",
}


@dataclass
class Rows:
    """The rows read so far, and the semi-continuous columns found among them."""

    number: dict[int, int]  # from SCIP's index of a variable
    names: list[str] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    products: list[tuple[int, int, int, float]] = field(default_factory=list)
    disjunctions: list[str] = field(default_factory=list)

    def arrays(self) -> dict[str, Any]:
        """Return the rows as parts of a Matrix."""
        row, column, value = _turned(self.entries, 3)
        product_row, i, j, coefficient = _turned(self.products, 4)
        return {
            "rows": self.names,
            "row_lower": self.lower,
            "row_upper": self.upper,
            "entries": Terms.of([row, column], value),
            "products": Terms.none(2),
            "row_products": Terms.products([product_row], i, j, coefficient),
        }


def read_rows(model: Any) -> Rows:
    """Read every constraint.

    Raises:
        Inexpressible: One is no row, and no bound of a semi-continuous column.
    """
    rows = Rows({variable.getIndex(): place for place, variable in enumerate(model.getVars())})
    for constraint in model.getConss(transformed=False):
        kind = constraint.getConshdlrName()
        if kind == "bounddisjunction":
            rows.disjunctions.append(constraint.name)
            continue
        if kind not in _READ:
            raise Inexpressible(_NO_ROWS.get(kind, f"a constraint of SCIP's kind {kind}"))
        _READ[kind](model, constraint, rows)
        rows.names.append(constraint.name)
        rows.lower.append(model.getLhs(constraint))
        rows.upper.append(model.getRhs(constraint))
    return rows


def _linear(model: Any, constraint: Any, rows: Rows) -> None:
    # `getValsLinear` is a dict by name, in which the last of two entries wins.
    row, number = len(rows.names), rows.number
    values = model.getConsVals(constraint)
    for variable, value in zip(model.getConsVars(constraint), values, strict=True):
        rows.entries.append((row, number[variable.getIndex()], value))


def _quadratic(model: Any, constraint: Any, rows: Rows) -> None:
    row, number = len(rows.names), rows.number
    bilinear, squares, linear = model.getTermsQuadratic(constraint)
    for first, second, value in bilinear:
        rows.products.append((row, number[first.getIndex()], number[second.getIndex()], value))
    for variable, square, value in squares:
        place = number[variable.getIndex()]
        rows.products.append((row, place, place, square))
        rows.entries.append((row, place, value))
    rows.entries.extend((row, number[variable.getIndex()], value) for variable, value in linear)


_READ = {"linear": _linear, "nonlinear": _quadratic}


def _turned(lines: list[Any], axes: int) -> Any:
    return zip(*lines, strict=True) if lines else ((),) * axes


def with_objective(model: Matrix) -> Matrix:
    """Return the model with SCIP's row for a quadratic objective as the objective it means."""
    for name, stand_in in _OBJECTIVES:
        if name in model.rows and stand_in in model.columns:
            row, column = model.rows.index(name), model.columns.index(stand_in)
            if _stands_for_the_objective(model, row, column):
                return _moved_into_objective(model, row, column)
    return model


def _stands_for_the_objective(model: Matrix, row: int, column: int) -> bool:
    in_row = model.entries.places[:, 0] == row
    in_column = model.entries.places[:, 1] == column
    return (
        bool(np.array_equal(in_row, in_column))
        and model.entries.values[in_row].tolist() == [-1.0]
        and model.costs[column] == 1
    )


def _moved_into_objective(model: Matrix, row: int, column: int) -> Matrix:
    row_number, column_number = _without(len(model.rows), row), _without(len(model.columns), column)
    of_objective = model.row_products.places[:, 0] == row
    entries, products = model.entries, model.row_products
    kept = entries.places[:, 0] != row
    others = Terms(products.places[~of_objective], products.values[~of_objective])
    mine = Terms(products.places[of_objective, 1:], products.values[of_objective])
    figures: dict[str, Any] = {
        part: np.delete(getattr(model, part), place)
        for parts, place in ((COLUMN_FIGURES, column), (ROW_FIGURES, row))
        for part in parts
    }
    return replace(
        model,
        columns=(*model.columns[:column], *model.columns[column + 1 :]),
        rows=(*model.rows[:row], *model.rows[row + 1 :]),
        entries=Terms(entries.places[kept], entries.values[kept]).moved(row_number, column_number),
        products=mine.moved(column_number, column_number),
        row_products=others.moved(row_number, column_number, column_number),
        **figures,
    )


def _without(size: int, place: int) -> Ints:
    """Return the new numbers of things of which one is taken out."""
    numbers = np.arange(size)
    return numbers - (numbers > place)
