"""Run one call of a solver, and check its answer, to a Solution or an error.

A Solution counts only when the backend's own status says there is one *and* OMMX finds it feasible:
HiGHS hands out zeros at a time limit, and all adapters forget the bounds of binary variables.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from ommx import Instance, Kind, Optimality, SampleSet, Solution
from ommx.experiment import OpenSolve

from ommx_prefect._solver.backends import Backend, backend_of
from ommx_prefect._solver.call import SolverCall
from ommx_prefect._solver.driver import Driver, SolverVerdict
from ommx_prefect._solver.errors import prepared_for, translated
from ommx_prefect._solver.observed import Observed
from ommx_prefect._solver.options import check_keywords, set_options
from ommx_prefect._solver.outcome import (
    found_in,
    found_in_samples,
    give_measured,
    give_outcome,
)
from ommx_prefect._solver.supervised import supervise
from ommx_prefect._solver.telemetry import Watching
from ommx_prefect._solver.warm_start import WarmStart
from ommx_prefect.exceptions import (
    InfeasibleError,
    NoSolutionError,
    SolverError,
    SolverOptionError,
    UnboundedError,
)

PROVED_GAP = 1e-4
"""A solution is `optimal` where it is proved to be within this relative gap, and nowhere else."""
# A solver that cannot be stopped ends so long after the timeout of its task.
BEYOND_SECONDS = 1.0


def solution_of(
    call: SolverCall, settings: Mapping[str, Any], how: Watching, warm_start: WarmStart
) -> Solution:
    """Return the feasible Solution of a solve.

    Raises:
        SolveOutcomeError: There is none.
        SolverOptionError: The backend does not take an option or the start.
    """
    backend = backend_of(call.adapter)
    if backend is not None and backend.driver is not None:
        return _driven(call, backend, settings, how, warm_start)
    check_keywords(call.adapter, call.adapter.solve, settings)
    if warm_start.start is not None:
        warm_start.leave_out(call, "nobody here knows how this adapter's solver is given one")
    with call.timed(), translated(call.error, call.adapter, call.instance):
        solution = call.run.log_solve(call.adapter, call.instance, **settings)
    _believe(call, solution, optimal=solution.optimality == Optimality.Optimal)
    return solution


def _driven(
    call: SolverCall,
    backend: Backend,
    settings: Mapping[str, Any],
    how: Watching,
    warm_start: WarmStart,
) -> Solution:
    """Run the backend's own model; leaving the scope by an error makes the Solve record failed.

    An instance that cannot be prepared goes in as it is: the adapter says why, in the record.
    """
    driver = backend.driver
    assert driver is not None
    prepared = prepared_for(call.adapter, call.instance) or call.instance
    with (
        translated(call.error, call.adapter, prepared),
        call.run.open_solve(
            call.adapter, prepared, store_diagnostics=how.telemetry == "full"
        ) as solve,
    ):
        model = solve.solver_input
        _set_options(call, driver, solve, settings)
        _narrow_binaries(driver, solve.adapter, prepared)
        warm_start.give(call, driver, solve.adapter, prepared, keep=how.telemetry == "full")
        bound_limit(backend, model, call.seconds_left())
        Observed(call, driver, solve, prepared, how).run()
        verdict = _require_solution(call, driver, model)
        solution = solve.decode(model)
        _correct_gap(call, driver, solution)
        transported = prepared.map_active_optimality(Optimality.Optimal) == Optimality.Optimal
        _believe(call, solution, optimal=verdict == "optimal" and transported)
    return solution


def bound_limit(backend: Backend, model: Any, left: float | None) -> None:
    """Set the solver's own limit a little beyond the seconds left, unless it is less."""
    driver = backend.driver
    if left is None or driver is None:
        return
    name = backend.limits["time_limit_seconds"]
    given = driver.options(model)[name]
    least = left + BEYOND_SECONDS
    if not isinstance(given, (int, float)) or given > least:
        driver.write(model, name, least)


def _set_options(
    call: SolverCall, driver: Driver, solve: OpenSolve, settings: Mapping[str, Any]
) -> None:
    """Set the options and record them; what the solver refuses, too, for who solves it again."""
    try:
        set_options(call.adapter, driver, solve.solver_input, settings)
    except SolverOptionError:
        for name, value in settings.items():
            with contextlib.suppress(TypeError, ValueError, RuntimeError):  # of whatever type
                solve.log_adapter_option(name, value)
        raise
    for name, value in settings.items():
        solve.log_adapter_option(name, value)


def _correct_gap(call: SolverCall, driver: Driver, solution: Solution) -> None:
    """Correct the gap to that of the Solution: CBC can return values that are not its optimum."""
    told = call.measured.parameters
    dual = told.get("dual_bound")
    if "gap" not in told or dual is None:
        return
    objective = float(solution.objective)
    off = abs(objective - dual)
    if not solution.feasible:
        del told["gap"]
    elif off > PROVED_GAP * max(1.0, abs(dual)) and told["gap"] <= PROVED_GAP:
        del told["gap"]
        gap = driver.gap_between(objective, dual)
        told |= {"gap": gap} if math.isfinite(gap) else {}


def _narrow_binaries(driver: Driver, adapter: Any, instance: Instance) -> None:
    # The adapters give every binary variable the bounds 0 and 1, also a fixed one.
    narrow = {
        variable.id: bound
        for variable in instance.decision_variables
        if variable.kind == Kind.Binary
        for bound in [variable.bound]
        if bound.lower > 0 or bound.upper < 1
    }
    # Which are used costs OMMX ten times as much as all of them.
    for variable in instance.used_decision_variables if narrow else ():
        if bound := narrow.get(variable.id):
            driver.bound(adapter, variable.id, bound.lower, bound.upper)


def _require_solution(call: SolverCall, driver: Driver, model: Any) -> SolverVerdict:
    """Return the backend's verdict if it has a solution, else raise the error of its status."""
    status = driver.status(model)
    verdict = driver.verdicts.get(status, "error")
    if verdict == "infeasible_or_unbounded":
        verdict = _decided(call, driver, model)
    if verdict == "interrupted":
        raise KeyboardInterrupt(f"{call.adapter.__name__} was interrupted on {call.name}")
    if verdict == "infeasible":
        raise call.error(InfeasibleError, f"no solution satisfies all constraints ({status})")
    if verdict == "unbounded":
        raise call.error(UnboundedError, f"the objective is unbounded ({status})")
    if verdict == "error":
        raise call.error(SolverError, f"the solver ended with the status {status}")
    if not driver.has_solution(model):
        raise call.error(NoSolutionError, f"the solver stopped without a solution ({status})")
    # HiGHS and CBC call a solution optimal at whatever gap they were told to stop, and SCIP none
    # that it has not proved to its last digit. An LP has no gap: there the status alone tells.
    gap = driver.gap(model)
    if not math.isfinite(gap):
        return verdict
    return "optimal" if gap <= PROVED_GAP else "stopped"


def _decided(call: SolverCall, driver: Driver, model: Any) -> SolverVerdict:
    """Decide between infeasible and unbounded by solving again without the objective."""
    driver.drop_objective(model)
    with call.timed():
        supervise(lambda: driver.run(model), lambda: driver.stop(model), call.require_wanted)
    verdict = driver.verdicts.get(driver.status(model), "error")
    if verdict in ("optimal", "stopped") and driver.has_solution(model):
        return "unbounded"
    return verdict if verdict in ("infeasible", "stopped", "interrupted") else "error"


def _believe(call: SolverCall, solution: Solution, *, optimal: bool) -> None:
    """Take a feasible Solution; raise SolverError for an infeasible one."""
    if not solution.feasible:
        if optimal:
            reason = "the solver says optimal, but OMMX finds its solution infeasible"
            reason += _worst_miss(solution)
            raise call.error(SolverError, reason)
        raise call.error(NoSolutionError, "the solver's only solution is infeasible")
    give_measured(solution, call.measured.parameters)
    call.found = found_in(give_outcome(solution, "optimal" if optimal else "feasible"))


def _worst_miss(solution: Solution) -> str:
    """Describe the constraint that is violated most, and what may help."""
    missed = {
        row.name or f"number {number}": row.violation()
        for number, row in solution.constraints.items()
    }
    worst = max(missed, key=lambda name: missed[name], default="")
    allowed = solution.feasibility_atol
    if not missed or missed[worst] <= allowed:
        return ""
    return (
        f": constraint {worst} is missed by {missed[worst]:.3g}, and OMMX allows {allowed:g} "
        "whatever the size of its numbers. A tighter tolerance in options={...} may help"
    )


def believe_samples(call: SolverCall, samples: SampleSet) -> None:
    """Take the best feasible sample; raise NoSolutionError without one."""
    call.found = found_in_samples(samples)
    if not call.found["feasible"]:
        reason = f"none of {samples.num_samples()} samples is feasible"
        raise call.error(NoSolutionError, reason)
