"""Drive python-mip, whose solver CBC is not trusted without a check.

Seen with mip 1.17.6 and its CBC, on small random models against SCIP and HiGHS: with integers whose
relaxation is unbounded it calls infeasible unbounded and the other way round; it calls 1e21 the
optimum of an unbounded linear program; its preprocessing hands out values that are not those of its
optimum; and it ends the process on models that have rows, but no term in any.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from ommx_prefect._solver.driver import SolverVerdict
from ommx_prefect._solver.figures import Figures, relative_gap
from ommx_prefect._solver.python_mip_figures import cbc_version, threads_of
from ommx_prefect._solver.python_mip_progress import printed, tell_progress
from ommx_prefect._solver.watch import Watch, known

# By how much CBC lets a row be violated, as its `infeas_tol` has it.
_TOLERANCE = 1e-6


class PythonMipDriver:
    """`mip.Model` with CBC, which prints a few lines of its own for pure linear programs."""

    _INFINITY = 1e20
    _DECIDING_SECONDS = 60.0
    _MOST_OFF = 1e-4
    # What mip.Model takes as plain values; its enums (emphasis, lp_method) do not go into a record.
    _OPTIONS = (
        "max_seconds",
        "max_nodes",
        "max_solutions",
        "max_mip_gap",
        "max_mip_gap_abs",
        "seed",
        "threads",
        "preprocess",
        "cut_passes",
        "pump_passes",
        "cutoff",
        "infeas_tol",
        "integer_tol",
        "opt_tol",
        "round_int_vars",
        "sol_pool_size",
    )

    is_watchable: ClassVar[bool] = False
    output: ClassVar[int | None] = None
    """The file that standard output goes to, where it is the solver's own, as in its process."""

    verdicts: ClassVar[Mapping[str, SolverVerdict]] = {
        "OPTIMAL": "optimal",
        "INFEASIBLE": "infeasible",
        "INT_INFEASIBLE": "infeasible",
        "UNBOUNDED": "unbounded",
        "INF_OR_UNBD": "infeasible_or_unbounded",
        "FEASIBLE": "stopped",
        "NO_SOLUTION_FOUND": "stopped",
        "CUTOFF": "stopped",
    }

    def options(self, model: Any) -> Mapping[str, object]:
        return {name: getattr(model, name) for name in self._OPTIONS}

    def write(self, model: Any, name: str, value: object) -> None:
        setattr(model, name, value)

    def explain(self, model: Any, name: str) -> str:
        return ""

    def bound(self, adapter: Any, variable: int, lower: float, upper: float) -> None:
        column = adapter.model.var_by_name(str(variable))
        column.lb, column.ub = lower, upper

    def drop_objective(self, model: Any) -> None:
        model.objective = sys.modules["mip"].LinExpr(const=0.0)
        if model.max_seconds >= self._INFINITY:
            # CBC can branch for ever on what it called unbounded at once.
            model.max_seconds = self._DECIDING_SECONDS

    def run(self, model: Any) -> None:
        self._fill(model)
        # `optimize` resets the limits to its own arguments, so they are passed on.
        model.optimize(
            max_seconds=model.max_seconds,
            max_nodes=model.max_nodes,
            max_solutions=model.max_solutions,
        )

    def status(self, model: Any) -> str:
        name = str(model.status.name)
        return "INF_OR_UNBD" if self._is_in_doubt(name, model) else name

    def has_solution(self, model: Any) -> bool:
        return bool(model.num_solutions > 0)

    def gap(self, model: Any) -> float:
        # With integers without bounds, CBC can hand out other values than those of its optimum.
        told, found = model.objective_value, model.objective.x
        off = abs(told - found) / max(abs(told), abs(found), 1.0)
        if off > self._MOST_OFF:
            return float(off)
        return float(model.gap) if model.num_int else math.inf

    def gap_between(self, primal: float, dual: float) -> float:
        return relative_gap(primal, dual, abs(primal))

    def start(self, adapter: Any, values: Mapping[int, float], objective: float) -> bool:
        variables = {variable.name: variable for variable in adapter.model.vars}
        adapter.model.start = [(variables[str(x)], y) for x, y in values.items()]
        return True

    def stop(self, model: Any) -> None:
        """Do nothing: CBC cannot be stopped from outside, and ends at its limit."""

    @contextmanager
    def watched(self, adapter: Any, watch: Watch) -> Iterator[None]:
        # CBC's handler of events cannot be used (cbcbox 2.935): with its log, CBC puts one of its
        # own in its place; without, the end of the search follows a null pointer of it, and
        # SIGSEGV ends the process (`CbcModel::dealWithEventHandler`, `onStrongStats`).
        if self.output is None:
            yield
            return
        adapter.model.verbose = 1
        since = os.fstat(self.output).st_size
        try:
            yield
        finally:
            with watch.guarded():
                tell_progress(adapter.model, printed(self.output, since), watch)

    def log_into(self, model: Any, path: Path) -> bool:
        # CBC writes to the process's standard output alone.
        model.verbose = int(self.output is not None)
        return False

    def figures(self, model: Any, verdict: SolverVerdict) -> Figures:
        is_held = self.has_solution(model)
        primal = known(model.objective_value) if is_held else None
        dual = known(model.objective_bound) if model.num_int or is_held else None
        gap = known(model.gap) if model.num_int and is_held else 0.0 if is_held else None
        if primal is not None and primal == dual:
            gap = 0.0  # of an optimum of 0 python-mip says infinite
        return Figures(
            primal=primal, dual=dual, gap=gap, version=cbc_version(), threads=threads_of(model)
        )

    def reports(self, model: Any) -> Sequence[object]:
        return []

    def _fill(self, model: Any) -> None:
        """Change an empty model, on which CBC crashes or which python-mip does not solve."""
        if not model.num_cols:
            model.add_var("nothing", lb=0.0, ub=0.0)
        rows = list(model.constrs)
        if any(_has_terms(row.expr) for row in rows):
            return
        if any(_contradicts_itself(row.expr) for row in rows):
            self.drop_objective(model)  # the row alone decides
        elif rows:
            model.remove(rows)

    def _is_in_doubt(self, name: str, model: Any) -> bool:
        """Tell whether this may be infeasible or unbounded, and not what CBC calls it."""
        if name == "OPTIMAL":
            return bool(abs(model.objective_value) >= self._INFINITY)
        if name in ("INFEASIBLE", "INT_INFEASIBLE"):
            return model.num_int > 0 and self._may_be_unbounded(model)
        return name == "UNBOUNDED" and model.num_int > 0

    def _may_be_unbounded(self, model: Any) -> bool:
        sign = 1 if model.sense == "MAX" else -1
        return any(
            sign * coefficient * (variable.ub if sign * coefficient > 0 else variable.lb)
            >= abs(coefficient) * self._INFINITY
            for variable, coefficient in model.objective.expr.items()
        )


def _has_terms(row: Any) -> bool:
    # The adapter gives a constant row the term `0 * x`.
    return any(row.expr.values())


def _contradicts_itself(row: Any) -> bool:
    """Tell whether a row without terms, `0 <= 1` or `0 == 1`, does not hold."""
    return bool(row.const > _TOLERANCE or (row.sense == "=" and row.const < -_TOLERANCE))
