"""Compare two readings of a file entry by entry, and describe where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ommx_prefect.instances._matrix import KIND_NAMES, Matrix
from ommx_prefect.instances._terms import Floats, Terms

# Readers round alike; this allows for a sum of halves, or a range, made in another order.
_RELATIVE = 1e-12

_OF_COLUMNS = (
    ("kinds", "kind"),
    ("lower", "lower bound"),
    ("upper", "upper bound"),
    ("costs", "cost"),
)
_OF_ROWS = (("row_lower", "lower bound"), ("row_upper", "upper bound"))


@dataclass(frozen=True)
class Difference:
    """One place where two readings differ: where, and both values as text."""

    figure: str
    where: str
    one: str
    other: str

    def told(self, one: str, other: str) -> str:
        """Say where the readings differ, with the names of the readers."""
        return f"{self.where}: {self.one} ({one}), {self.other} ({other})"


def first_difference(one: Matrix, other: Matrix) -> Difference | None:
    """Return the first difference, or None; the order of rows and columns does not count."""
    return next(differences(one, other), None)


def differences(one: Matrix, other: Matrix) -> Iterator[Difference]:
    """Yield where two readings of a file differ: the first place for each kind of figure."""
    one, other = _without_blanks(one), _without_blanks(other)
    if one.maximize != other.maximize:
        yield Difference("sense", "objective", _sense(one), _sense(other))
    named = list(_names(one, other))
    if named:
        yield from named
        return
    second = _in_its_order(one, other)
    if not _same(one.constant, second.constant):
        values = _text(one.constant), _text(second.constant)
        yield Difference("constant", "objective constant", *values)
    yield from _figures(one, second, _OF_COLUMNS, "column", one.columns)
    yield from _figures(one, second, _OF_ROWS, "row", one.rows)
    for part in ("products", "entries", "row_products"):
        yield from _terms(one, second, part)


def _without_blanks(model: Matrix) -> Matrix:
    """Return the model with `x_1` for a column `x 1`, as SCIP (10.0.3) names it, if that is free.

    In the fixed form of an MPS file names may have blanks.
    """
    changed: dict[str, Any] = {}
    for part in ("columns", "rows"):
        names = getattr(model, part)
        if " " in "\n".join(names):  # four times as quick as to ask each
            without = tuple(name.replace(" ", "_") for name in names)
            changed[part] = without if len(set(without)) == len(set(names)) else names
    return replace(model, **changed) if changed else model


def _sense(model: Matrix) -> str:
    return "maximise" if model.maximize else "minimise"


def _names(one: Matrix, other: Matrix) -> Iterator[Difference]:
    for kind, first, second in (
        ("column", one.columns, other.columns),
        ("row", one.rows, other.rows),
    ):
        if first == second:
            continue
        known, others = set(first), set(second)
        missing = next((name for name in first if name not in others), None)
        added = next((name for name in second if name not in known), None)
        if missing is not None:
            yield Difference(kind, f"{kind} {missing}", "present", "absent")
        elif added is not None:
            yield Difference(kind, f"{kind} {added}", "absent", "present")


def _in_its_order(one: Matrix, other: Matrix) -> Matrix:
    """Return a model with rows and columns in the order, and rows with the sign, of another."""
    if other.columns != one.columns or other.rows != one.rows:
        other = _reordered(one, other)
    return _turned(one, other)


def _reordered(one: Matrix, other: Matrix) -> Matrix:
    column_of = {name: place for place, name in enumerate(one.columns)}
    row_of = {name: place for place, name in enumerate(one.rows)}
    columns = np.array([column_of[name] for name in other.columns], np.int64)
    rows = np.array([row_of[name] for name in other.rows], np.int64)
    by_column, by_row = np.argsort(columns), np.argsort(rows)
    return replace(
        other,
        columns=one.columns,
        rows=one.rows,
        entries=other.entries.moved(rows, columns),
        products=other.products.moved(columns, columns),
        row_products=other.row_products.moved(rows, columns, columns),
        **{part: getattr(other, part)[by_column] for part, _ in _OF_COLUMNS},
        **{part: getattr(other, part)[by_row] for part, _ in _OF_ROWS},
    )


def _turned(one: Matrix, other: Matrix) -> Matrix:
    """Return a model with `-x <= -2` as `x >= 2` where another has it so."""
    turned = _signs(one) != _signs(other)
    if not turned.any():
        return other
    factors = np.where(turned, -1.0, 1.0)
    return replace(
        other,
        entries=other.entries.scaled(factors),
        row_products=other.row_products.scaled(factors),
        row_lower=np.where(turned, -other.row_upper, other.row_lower) + 0.0,
        row_upper=np.where(turned, -other.row_lower, other.row_upper) + 0.0,
    )


def _signs(model: Matrix) -> Floats:
    """Return the sign of each row's first term; of an empty row, the side that it has."""
    signs = np.where(np.isinf(model.row_lower), 1.0, -1.0)
    for terms in (model.row_products, model.entries):
        rows, first = np.unique(terms.places[:, 0], return_index=True)
        signs[rows] = np.sign(terms.values[first])
    return signs


def _figures(
    one: Matrix, other: Matrix, parts: tuple[tuple[str, str], ...], kind: str, names: Any
) -> Iterator[Difference]:
    for part, called in parts:
        first, second = getattr(one, part), getattr(other, part)
        places = np.flatnonzero(~_close(first, second))
        if len(places):
            values = (_value(part, array[places[0]]) for array in (first, second))
            yield Difference(part, f"{kind} {names[places[0]]}, {called}", *values)


def _terms(one: Matrix, other: Matrix, part: str) -> Iterator[Difference]:
    mine, others = getattr(one, part), getattr(other, part)
    if np.array_equal(mine.places, others.places) and _close(mine.values, others.values).all():
        return
    first, second = _by_place(mine), _by_place(others)
    for place in sorted(first.keys() | second.keys()):
        values = first.get(place, 0.0), second.get(place, 0.0)
        if not _same(*values):
            yield Difference(part, _where(one, place, part), *map(_text, values))
            return


def _by_place(terms: Terms) -> dict[tuple[int, ...], float]:
    places = map(tuple, terms.places.tolist())
    return dict(zip(places, terms.values.tolist(), strict=True))


def _where(model: Matrix, place: tuple[int, ...], part: str) -> str:
    if part == "products":
        return f"objective, term {_product(model, place)}"
    row = f"row {model.rows[place[0]]}"
    if part == "entries":
        return f"{row}, column {model.columns[place[1]]}"
    return f"{row}, term {_product(model, place[1:])}"


def _product(model: Matrix, place: tuple[int, ...]) -> str:
    return " * ".join(model.columns[column] for column in place)


def _close(one: Any, other: Any) -> Any:
    both = np.isfinite(one) & np.isfinite(other)
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= _RELATIVE * np.maximum(np.abs(one), np.abs(other))
    return (one == other) | (both & near)


def _same(one: float, other: float) -> bool:
    return bool(_close(np.float64(one), np.float64(other)))


def _value(part: str, value: Any) -> str:
    return KIND_NAMES[int(value)] if part == "kinds" else _text(value)


def _text(value: float) -> str:
    return f"{value:.15g}"
