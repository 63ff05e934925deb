"""Read the facts of a Run's solve from its parameters, as far as they fit a table's columns.

A parameter of this name may be a user's own and mean something else: `seed="random"`, `nodes=2.5`.
A value that does not fit its column is missing, as if nobody had logged it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ommx_prefect._oci.names import is_digest
from ommx_prefect._shards import columns
from ommx_prefect._solver.backends import BACKENDS
from ommx_prefect._solver.options import OPTION

# Column -> the run parameter that says it, where the Run holds one solve.
PARAMETERS: dict[str, str] = {
    "instance": "instance",
    "digest": "instance_digest",
    "outcome": "outcome",
    "objective": "objective",
    "sense": "sense",
    "dual_bound": "dual_bound",
    "gap": "gap",
    "seconds": "solve_seconds",
    "limit": "time_limit_seconds",
    "iterations": "iterations",
    "nodes": "nodes",
    "first_solution_seconds": "first_solution_seconds",
    "primal_dual_integral": "primal_dual_integral",
    "cpu_seconds": "cpu_seconds",
    "solves_at_once": "solves_at_once",
    "seed": "seed",
    "host": columns.HOST,
    "started_at": columns.STARTED_AT,
}
OUTCOMES = frozenset({"optimal", "feasible", "infeasible", "unbounded", "no_solution"})
OUTCOMES |= {"not_applicable", "error"}
HAS_SOLUTION = frozenset({"optimal", "feasible"})
SENSES = frozenset({"minimize", "maximize"})
# Our names of the limits that make another variant -> what each adapter's solver calls them.
VARIANT_LIMITS: dict[str, dict[str, str]] = {
    backend.adapter: {x: backend.limits[x] for x in ("mip_gap", "threads") if x in backend.limits}
    for backend in BACKENDS
}
# What the solvers call their seed and their limit of time -> the column that tells it.
OPTION_COLUMNS: dict[str, str] = {
    theirs: column
    for backend in BACKENDS
    for ours, column in (("seed", "seed"), ("time_limit_seconds", "limit"))
    if (theirs := backend.limits.get(ours))
}
_MOST = 2**63


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    # A column of numbers is one of floats as soon as one Run has logged one.
    return _is_number(value) and math.isfinite(value) and value == int(value) and abs(value) < _MOST


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "Float64": _is_number,
    "Int64": _is_count,
    "outcome": lambda value: value in OUTCOMES,
    "sense": lambda value: value in SENSES,
    "digest": lambda value: isinstance(value, str) and is_digest(value),
}


def said_of_solve(logged: Mapping[str, Any], dtypes: Mapping[str, str]) -> dict[str, Any]:
    """Return the facts of a solve from parameters, by column; unfit values are left out.

    Args:
        logged: The parameters of a Run that has them.
        dtypes: The dtype of each column.
    """
    said = {column: _plain(logged[name]) for column, name in PARAMETERS.items() if name in logged}
    found = {x: value for x, value in said.items() if _FITS.get(x, _FITS[dtypes[x]])(value)}
    return {x: int(value) if dtypes[x] == "Int64" else value for x, value in found.items()}


def said_in_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the adapter options of a solve say of its seed and its limit, by column."""
    said = {OPTION_COLUMNS[x]: _plain(y) for x, y in options.items() if x in OPTION_COLUMNS}
    return {x: y for x, y in said.items() if (_is_count(y) if x == "seed" else _is_finite(y))}


def is_solve(logged: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Tell whether a Run without a Solve stands for one: cached, or killed in the middle."""
    is_named = isinstance(logged.get("adapter"), str) and "instance" in said
    return is_named and (is_cached(logged) or "outcome" in said or "sense" in said)


def is_cached(logged: Mapping[str, Any]) -> bool:
    """Tell whether a Run is that of a cached result, so that its body was never called."""
    return bool(logged.get(columns.STATE) == "Cached")


def options_said(logged: Mapping[str, Any]) -> dict[str, Any]:
    """Return the adapter options of a solve that has left no record of them but parameters."""
    adapter = str(logged.get("adapter")).rpartition(".")[2]
    names = VARIANT_LIMITS.get(adapter, {})
    options = {theirs: _plain(logged[ours]) for ours, theirs in names.items() if ours in logged}
    named = {x: _plain(value) for x, value in logged.items() if x.startswith(OPTION)}
    return options | {x.removeprefix(OPTION): value for x, value in named.items()}


def _plain(value: Any) -> Any:
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value
