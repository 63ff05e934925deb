"""Read MPS and LP files with SCIP, quadratic constraints included; in a process of its own."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ommx_prefect.instances._matrix import (
    CONTINUOUS,
    INTEGER,
    SEMI_CONTINUOUS,
    Matrix,
    matrix,
)
from ommx_prefect.instances._scip_rows import read_rows, with_objective
from ommx_prefect.instances._scip_semi import semi_continuous
from ommx_prefect.instances._unreadable import NotInstalled, Unreadable

# With SCIP's own limit an entry below 1e-9 is dropped, though it is in the file.
_PARAMETERS = {"numerics/epsilon": 1e-20, "numerics/sumepsilon": 1e-17}
# What HiGHS calls a row of an LP file that has no name there, with its place; SCIP leaves it empty.
UNNAMED_ROW = "HiGHS_R"
_WHERE = re.compile(r"^\[[\w.]+:\d+\] ERROR: ")


def read_scip(path: Path) -> Matrix:
    """Read a model.

    Raises:
        Unreadable: SCIP is not installed or does not take the file, or something in it is neither
            row nor bound.
    """
    try:
        import pyscipopt
    except ImportError as error:
        raise NotInstalled("pyscipopt") from error
    model = pyscipopt.Model()
    # PySCIPOpt writes the reason of an error to Python's standard error, and raises without it.
    with redirect_stderr(io.StringIO()) as said:
        model.redirectOutput()
        model.hideOutput()
        for name, value in _PARAMETERS.items():
            model.setParam(name, value)
        try:
            model.readProblem(str(path))
        except Exception as error:
            raise Unreadable(_reason(said.getvalue()) or str(error)) from error
    return _matrix_of(model, path)


def _reason(said: str) -> str:
    lines = [_WHERE.sub("", line).strip() for line in said.splitlines()]
    return next((line for line in lines if line), "")


def _matrix_of(model: Any, path: Path) -> Matrix:
    variables = model.getVars()
    names = [variable.name for variable in variables]
    number = {name: place for place, name in enumerate(names)}
    if len(number) != len(names):
        raise Unreadable("two columns have one name")
    rows = read_rows(model)
    costs = np.array([variable.getObj() for variable in variables])
    lower = np.array([variable.getLbOriginal() for variable in variables])
    kinds = np.array([_kind(variable) for variable in variables], np.uint8)
    for name, bound in semi_continuous(model, rows.disjunctions).items():
        lower[number[name]] = bound
        kinds[number[name]] += SEMI_CONTINUOUS - CONTINUOUS
    whole = matrix(
        title=_title(model, path),
        maximize=model.getObjectiveSense() == "maximize",
        constant=model.getObjoffset(),
        columns=names,
        kinds=kinds,
        lower=lower,
        upper=[variable.getUbOriginal() for variable in variables],
        costs=costs,
        **rows.arrays(),
    )
    return _with_names(with_objective(whole))


def _with_names(model: Matrix) -> Matrix:
    """Return the model with the rows that have no name in the file named as HiGHS names them."""
    rows = (name or f"{UNNAMED_ROW}{place}" for place, name in enumerate(model.rows))
    return replace(model, rows=tuple(rows))


def _kind(variable: Any) -> int:
    return CONTINUOUS if variable.vtype() in ("CONTINUOUS", "IMPLINT") else INTEGER


def _title(model: Any, path: Path) -> str:
    # SCIP calls a model without a name by its path.
    name = str(model.getProbName())
    return "" if name == str(path) else name
