"""Read MPS and LP files with HiGHS, through its arrays."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ommx_prefect.instances._matrix import (
    CONTINUOUS,
    INTEGER,
    SEMI_CONTINUOUS,
    SEMI_INTEGER,
    Matrix,
    matrix,
)
from ommx_prefect.instances._terms import Terms
from ommx_prefect.instances._unreadable import NotInstalled, Unreadable

# HiGHS's own limits drop what is in the file (below 1e-9) or refuse it (above 1e15).
_OPTIONS = {"small_matrix_value": 1e-12, "large_matrix_value": 1e30}
# By the numbers of HiGHS's variable types; implicit integers are continuous by their definition.
_KINDS = np.array([CONTINUOUS, INTEGER, SEMI_CONTINUOUS, SEMI_INTEGER, CONTINUOUS], np.uint8)


def read_highs(path: Path) -> Matrix:
    """Read a model.

    Raises:
        Unreadable: HiGHS is not installed or does not take the file; the reason is in its words.
    """
    try:
        import highspy
        from highspy._core import _Highs
    except ImportError as error:
        raise NotInstalled("highspy") from error
    # The constructor of `highspy.Highs` prints a banner that no option silences (HiGHS#2749).
    model = _Highs()
    model.setOptionValue("output_flag", False)
    for name, value in _OPTIONS.items():
        model.setOptionValue(name, value)
    if model.readModel(str(path)) == highspy.HighsStatus.kError:
        raise Unreadable(_reason(model, path))
    return _matrix_of(model)


def _reason(model: Any, path: Path) -> str:
    """Read it once more with a log, in which alone HiGHS tells the reason of an error."""
    with TemporaryDirectory() as folder:
        log = Path(folder, "highs.log")
        for name, value in (("output_flag", True), ("log_to_console", False)):
            model.setOptionValue(name, value)
        model.setOptionValue("log_file", str(log))
        model.readModel(str(path))
        model.setOptionValue("log_file", "")
        lines = log.read_text("utf-8", errors="replace").splitlines()
    reasons = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return reasons[0] if reasons else "it gives no reason"


def _matrix_of(model: Any) -> Matrix:
    lp = model.getLp()
    columns, rows = lp.col_names_, lp.row_names_
    if (len(columns), len(rows)) != (lp.num_col_, lp.num_row_):
        raise Unreadable("two columns or two rows have one name")
    return matrix(
        title="",  # HiGHS gives the name of the file
        maximize=lp.sense_.name == "kMaximize",
        constant=lp.offset_,
        columns=columns,
        kinds=_kinds(lp),
        lower=lp.col_lower_,
        upper=lp.col_upper_,
        costs=lp.col_cost_,
        rows=rows,
        row_lower=lp.row_lower_,
        row_upper=lp.row_upper_,
        entries=_entries(model, lp.num_row_),
        products=_products(model.getModel().hessian_),
        row_products=Terms.none(3),
    )


def _kinds(lp: Any) -> Any:
    kinds = lp.integrality_  # each access makes a new list
    return _KINDS[[int(kind) for kind in kinds]] if kinds else np.zeros(lp.num_col_, np.uint8)


def _entries(model: Any, rows: int) -> Terms:
    if not rows:
        return Terms.none(2)
    _, starts, columns, values = model.getRowsEntries(rows, np.arange(rows, dtype=np.int32))
    lengths = np.diff(starts, append=len(values))
    return Terms.of([np.repeat(np.arange(rows), lengths), columns], values)


def _products(hessian: Any) -> Terms:
    """Return Q of x'Qx/2, of which HiGHS keeps one triangle, as coefficients of the products."""
    if not hessian.dim_:
        return Terms.none(2)
    starts, i = np.asarray(hessian.start_), np.asarray(hessian.index_)
    j = np.repeat(np.arange(hessian.dim_), np.diff(starts))
    half = np.where(i == j, 0.5, 1.0)
    return Terms.products([], i, j, half * np.asarray(hessian.value_))
