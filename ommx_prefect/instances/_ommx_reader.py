"""Read MPS files with OMMX's own loader, and tell whether its Instance is the file exactly."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np
from ommx import Equality, Function, Instance, Kind, Sense

from ommx_prefect._workarounds.panics import is_panic
from ommx_prefect.instances._matrix import (
    CONTINUOUS,
    INFINITE,
    INTEGER,
    SEMI_CONTINUOUS,
    SEMI_INTEGER,
    Matrix,
    matrix,
)
from ommx_prefect.instances._ommx_ranges import ranges_joined
from ommx_prefect.instances._terms import Floats, Terms
from ommx_prefect.instances._unreadable import Unreadable

_KINDS = {
    Kind.Continuous: CONTINUOUS,
    Kind.Integer: INTEGER,
    Kind.Binary: INTEGER,
    Kind.SemiContinuous: SEMI_CONTINUOUS,
    Kind.SemiInteger: SEMI_INTEGER,
}


def load_mps(path: Path) -> Instance:
    """Load an Instance with OMMX's loader.

    Raises:
        Unreadable: It does not take the file, or takes it though it has no end; what a panic of
            its Rust core says is the reason.
    """
    if not _has_end(path):
        raise Unreadable("no ENDATA line: it is cut off or no MPS. Fetch it again")
    try:
        return Instance.load_mps(str(path))
    except Exception as error:
        raise Unreadable(str(error)) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise Unreadable(f"its Rust core panicked: {error}") from error


def _has_end(path: Path) -> bool:
    # The loader takes a file that stops in the middle for a smaller model.
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return content.rfind(b"\nENDATA") >= 0 or content.rfind(b"\rENDATA") >= 0


def read_ommx(instance: Instance) -> Matrix:
    """Return what OMMX's loader made of an MPS file as arrays.

    OMMX writes a row with two bounds as two constraints, `R` and, behind all others, `R_`. They
    are one row again here. A row is as OMMX keeps it, `>= 2` as `-x <= -2`.
    """
    variables, objective = instance.decision_variables, instance.objective
    number = {variable.id: place for place, variable in enumerate(variables)}
    lower, upper = _bounds(instance)
    return matrix(
        title=instance.title or "",
        maximize=instance.sense == Sense.Maximize,
        constant=objective.constant_term,
        columns=[variable.name or f"OMMX_VAR_{variable.id}" for variable in variables],
        kinds=[_KINDS[variable.kind] for variable in variables],
        lower=lower,
        upper=upper,
        costs=_costs(objective, number),
        products=_products(objective, number),
        **_rows(instance, number),
    )


def is_exact(instance: Instance, model: Matrix) -> bool:
    """Tell whether an instance can stand for its model as it is.

    Not where a bound is one that the other readers take for infinite, and not where a binary
    variable is fixed: OMMX's adapters (3.0.0b7) give each binary the bounds 0 and 1.
    """
    sizes = np.abs(_bounds(instance))
    far = (sizes >= INFINITE) & np.isfinite(sizes)
    free = np.isinf(model.row_lower) & np.isinf(model.row_upper)
    return not (far.any() or free.any() or _has_fixed_binary(instance, model))


def _has_fixed_binary(instance: Instance, model: Matrix) -> bool:
    fixed = (model.kinds == INTEGER) & (model.lower == model.upper) & (np.abs(model.lower) <= 1)
    variables = instance.decision_variables if fixed.any() else []
    return any(variables[place].kind == Kind.Binary for place in np.flatnonzero(fixed))


def _bounds(instance: Instance) -> tuple[list[float], list[float]]:
    bounds = [variable.bound for variable in instance.decision_variables]
    return [bound.lower for bound in bounds], [bound.upper for bound in bounds]


def _costs(objective: Function, number: dict[int, int]) -> Floats:
    costs = np.zeros(len(number))
    terms = objective.linear_terms
    costs[[number[key] for key in terms]] = list(terms.values())
    return costs


def _products(function: Function, number: dict[int, int]) -> Terms:
    terms = function.quadratic_terms
    i = [number[first] for first, _ in terms]
    j = [number[second] for _, second in terms]
    return Terms.products([], i, j, list(terms.values()))


def _rows(instance: Instance, number: dict[int, int]) -> dict[str, Any]:
    constraints = instance.constraints
    functions = [constraint.function for constraint in constraints.values()]
    equal = [c.equality == Equality.EqualToZero for c in constraints.values()]
    upper = np.array([-function.constant_term for function in functions])
    names = [c.name or f"OMMX_CONSTR_{key}" for key, c in constraints.items()]
    rows = {
        "rows": names,
        "row_lower": np.where(equal, upper, -np.inf),
        "row_upper": upper,
        "entries": _entries([f.linear_terms for f in functions], number),
        "row_products": _row_products(functions, number),
    }
    return ranges_joined(rows) if any(name.endswith("_") for name in names) else rows


def _entries(terms: list[dict[int, float]], number: dict[int, int]) -> Terms:
    rows = np.repeat(np.arange(len(terms)), [len(row) for row in terms])
    keys = _flat(terms, len(rows), np.int64)
    if any(key != place for key, place in number.items()):
        keys = np.array([number[key] for key in keys.tolist()], np.int64)
    return Terms.of([rows, keys], _flat([row.values() for row in terms], len(rows), np.float64))


def _flat(parts: Iterable[Iterable[Any]], size: int, kind: Any) -> Any:
    return np.fromiter(chain.from_iterable(parts), kind, size)


def _row_products(functions: list[Function], number: dict[int, int]) -> Terms:
    found = [
        (row, number[i], number[j], value)
        for row, function in enumerate(functions)
        if (function.degree() or 0) > 1
        for (i, j), value in function.quadratic_terms.items()
    ]
    rows, i, j, values = zip(*found, strict=True) if found else ((), (), (), ())
    return Terms.products([rows], i, j, values)
