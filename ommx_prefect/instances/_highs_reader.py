"""Read MPS and LP files with HiGHS, through its arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
# Warnings that only count others, or tell that names with blanks are read by columns of the text.
_BESIDE = re.compile(r"section: ignored \d|fixed format|have the same name")
_MOST_REMARKS = 5
TWO_OF_ONE_NAME = "two columns or two rows have one name"


def read_highs(path: Path) -> Matrix:
    """Read a model.

    Raises:
        Unreadable: HiGHS is not installed or does not take the file; the reason is in its words.
    """
    try:
        import highspy  # noqa: F401
    except ImportError as error:
        raise NotInstalled("highspy") from error
    try:
        model, is_read, said = _listened(path)
    except UnicodeDecodeError:
        # HiGHS 1.16 may print memory that is no text in fixed form ("section, line: ...").
        model, is_read, said = _logged(path)
    if not is_read:
        raise Unreadable(next(_messages(said, "ERROR:"), "it gives no reason"))
    model.setOptionValue("output_flag", False)
    return _matrix_of(model, _remarks(said))


def silent_highs() -> Any:
    """Return HiGHS with limits that keep every coefficient, and without output."""
    from highspy._core import _Highs

    # The constructor of `highspy.Highs` prints a banner that no option silences (HiGHS#2749).
    model = _Highs()
    for name, value in {**_OPTIONS, "log_to_console": False}.items():
        model.setOptionValue(name, value)
    return model


def _listened(path: Path) -> tuple[Any, bool, str]:
    """Read a model, and collect HiGHS's log, the only place where it reports what it ignores."""
    from highspy._core import cb

    model = silent_highs()
    said: list[str] = []
    model.setCallback(lambda kind, message, *others: said.append(message), None)
    model.startCallback(cb.HighsCallbackType.kCallbackLogging)
    status = model.readModel(str(path))
    return model, status.name != "kError", "".join(said)


def _logged(path: Path) -> tuple[Any, bool, str]:
    """Read a model, with the log in a file, which takes ten times as long."""
    model = silent_highs()
    with TemporaryDirectory(prefix="ommx-prefect-") as folder:
        log = Path(folder, "log")
        model.setOptionValue("log_file", str(log))
        status = model.readModel(str(path))
        model.setOptionValue("log_file", "")  # closes it
        return model, status.name != "kError", log.read_text("utf-8", errors="replace")


def _messages(said: str, kind: str) -> Iterator[str]:
    lines = (line.strip() for line in said.splitlines())
    return (line.removeprefix(kind).strip() for line in lines if line.startswith(kind))


def _remarks(said: str) -> tuple[str, ...]:
    """Return the warnings of HiGHS about what it ignores, such as a second entry or unknown row."""
    found = [line for line in _messages(said, "WARNING:") if not _BESIDE.search(line)]
    more = len(found) - _MOST_REMARKS
    return (*found[:_MOST_REMARKS], *([f"and {more} more of the kind"] if more > 0 else []))


def _matrix_of(model: Any, remarks: tuple[str, ...]) -> Matrix:
    lp = model.getLp()
    columns, rows = lp.col_names_, lp.row_names_
    if (len(columns), len(rows)) != (lp.num_col_, lp.num_row_):
        raise Unreadable(TWO_OF_ONE_NAME)
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
        remarks=remarks,
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
