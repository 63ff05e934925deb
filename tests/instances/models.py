"""Random models as arrays, and the writers of HiGHS and SCIP that make files of them."""

from __future__ import annotations

from pathlib import Path

import highspy
import numpy as np
import pyscipopt
from highspy._core import _Highs
from hypothesis import strategies as st

from ommx_prefect.instances._matrix import CONTINUOUS, INTEGER, Matrix, matrix
from ommx_prefect.instances._terms import Terms

numbers = st.integers(-40, 40).map(lambda eighths: eighths / 8)
nonzero = numbers.filter(bool)
INF = float("inf")


@st.composite
def bounds(draw, kind: int) -> tuple[float, float]:
    """Every shape of bounds: none, one side, both, fixed; whole for integers."""
    figure = st.integers(-9, 9).map(float) if kind == INTEGER else numbers
    low, high = sorted([draw(figure), draw(figure)])
    shapes = (
        (0.0, INF),
        (-INF, INF),
        (low, INF),
        (-INF, high),
        (low, high),
        (low, low),
        (0.0, 1.0),
    )
    return draw(st.sampled_from(shapes))


@st.composite
def models(draw, *, integers=False, squares=False, ranges=False, row_squares=False) -> Matrix:
    """A model of up to 5 columns and 4 rows; each column is in some row, as SCIP's writer needs."""
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    kinds = [INTEGER if integers and draw(st.booleans()) else CONTINUOUS for _ in range(n)]
    sides = [(-INF, "b"), ("a", INF), ("a", "a")] + ([("a", "b")] if ranges else [])
    rows = [_side(draw, draw(st.sampled_from(sides))) for _ in range(m)]
    columns = [draw(bounds(kind)) for kind in kinds]
    pairs = st.dictionaries(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), nonzero)
    return matrix(
        title="",
        maximize=draw(st.booleans()),
        constant=draw(numbers),
        columns=[f"x{i}" for i in range(n)],
        kinds=kinds,
        lower=[low for low, _ in columns],
        upper=[high for _, high in columns],
        costs=[draw(nonzero) for _ in range(n)],
        rows=[f"r{i}" for i in range(m)],
        row_lower=[low for low, _ in rows],
        row_upper=[high for _, high in rows],
        entries=_entries(draw, m, n),
        products=_products(draw(pairs)) if squares else Terms.none(2),
        row_products=_in_rows(draw, pairs, m) if row_squares else Terms.none(3),
    )


def _side(draw, shape) -> tuple[float, float]:
    low, high = sorted([draw(numbers), draw(numbers)])
    known = {"a": low, "b": high if high > low else low + 1}
    return known.get(shape[0], shape[0]), known.get(shape[1], shape[1])


def _entries(draw, m: int, n: int) -> Terms:
    some = draw(st.dictionaries(st.tuples(st.integers(0, m - 1), st.integers(0, n - 1)), nonzero))
    whole = {(i, i % n): 1.0 for i in range(m)} | {(j % m, j): 2.0 for j in range(n)} | some
    row, column = zip(*whole, strict=True)
    return Terms.of([row, column], list(whole.values()))


def _products(pairs: dict[tuple[int, int], float]) -> Terms:
    i, j = zip(*pairs, strict=True) if pairs else ((), ())
    return Terms.products([], i, j, list(pairs.values()))


def _in_rows(draw, pairs, m: int) -> Terms:
    found = [(row, *pair, value) for row in range(m) for pair, value in draw(pairs).items()]
    row, i, j, values = zip(*found, strict=True) if found else ((), (), (), ())
    return Terms.products([row], i, j, values)


def write_with_highs(model: Matrix, path: Path) -> None:
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = model.shape
    lp.sense_ = highspy.ObjSense.kMaximize if model.maximize else highspy.ObjSense.kMinimize
    lp.offset_ = model.constant
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = model.costs, model.lower, model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.col_names_, lp.row_names_ = list(model.columns), list(model.rows)
    types = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [types[kind] for kind in model.kinds]
    rows = np.searchsorted(model.entries.places[:, 0], np.arange(len(model.rows) + 1))
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = rows.astype(np.int32)
    lp.a_matrix_.index_ = model.entries.places[:, 1].astype(np.int32)
    lp.a_matrix_.value_ = model.entries.values
    highs = _Highs()
    highs.setOptionValue("output_flag", False)
    highs.passModel(lp)
    if len(model.products):
        highs.passHessian(_hessian(model))
    assert highs.writeModel(str(path)) != highspy.HighsStatus.kError


def _hessian(model: Matrix) -> highspy.HighsHessian:
    size = len(model.columns)
    square = np.zeros((size, size))
    i, j = model.products.places.T
    square[j, i] = np.where(i == j, 2.0, 1.0) * model.products.values
    columns = [np.flatnonzero(square[:, column]) for column in range(size)]
    hessian = highspy.HighsHessian()
    hessian.dim_, hessian.format_ = size, highspy.HessianFormat.kTriangular
    hessian.start_ = np.cumsum([0, *map(len, columns)]).astype(np.int32)
    hessian.index_ = np.concatenate(columns).astype(np.int32)
    hessian.value_ = np.concatenate([square[rows, at] for at, rows in enumerate(columns)])
    return hessian


def write_with_scip(model: Matrix, path: Path) -> None:
    scip = pyscipopt.Model()
    scip.hideOutput()
    kinds = {CONTINUOUS: "C", INTEGER: "I"}
    columns = [
        scip.addVar(name, kinds[kind], lb=_or_none(low), ub=_or_none(high))
        for name, kind, low, high in zip(
            model.columns, model.kinds, model.lower, model.upper, strict=True
        )
    ]
    costs = zip(model.costs, columns, strict=True)
    scip.setObjective(pyscipopt.quicksum(float(cost) * column for cost, column in costs))
    scip.addObjoffset(model.constant)
    if model.maximize:
        scip.setMaximize()
    for row, name in enumerate(model.rows):
        _add_row(scip, model, columns, row, name)
    scip.writeProblem(str(path), verbose=False)


def _add_row(scip, model: Matrix, columns: list, row: int, name: str) -> None:
    terms = [
        float(value) * columns[column]
        for (at, column), value in zip(model.entries.places, model.entries.values, strict=True)
        if at == row
    ]
    terms += [
        float(value) * columns[i] * columns[j]
        for (at, i, j), value in zip(
            model.row_products.places, model.row_products.values, strict=True
        )
        if at == row
    ]
    low, high = float(model.row_lower[row]), float(model.row_upper[row])
    whole = pyscipopt.quicksum(terms)
    if low == -INF:
        scip.addCons(whole <= high, name)
    elif high == INF:
        scip.addCons(whole >= low, name)
    else:
        scip.addCons((low <= whole) <= high, name)


def _or_none(bound: float) -> float | None:
    return None if np.isinf(bound) else float(bound)
