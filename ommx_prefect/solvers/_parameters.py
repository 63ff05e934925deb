"""What do a Run's parameters say of a solve? The same of a result just made and of a cached one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ommx import Instance, Optimality, SampleSet, Sense, Solution
from ommx.adapter import SolverAdapter
from ommx.experiment import Run

from ommx_prefect.instances._name import instance_name
from ommx_prefect.instances._readers_note import readers_of
from ommx_prefect.solvers._backends import resolve_adapter, resolve_sampler
from ommx_prefect.solvers._options import LIMITS, given_limits

Parameters: TypeAlias = "dict[str, bool | float | int | str]"

# A Solution keeps its outcome as a user annotation: only the solver knew the gap.
_OUTCOME = "outcome"
_SENSES = ((Sense.Minimize, "minimize"), (Sense.Maximize, "maximize"))
_OPTIMALITY = (
    (Optimality.Optimal, "optimal"),
    (Optimality.NotOptimal, "not_optimal"),
    (Optimality.Unspecified, "unspecified"),
)


def asked_of(adapter: type[SolverAdapter], instance: Instance, name: str) -> Parameters:
    """Return what is solved, by what, and which readers agreed on the file it comes from."""
    sense = next(word for sense, word in _SENSES if sense == instance.sense)
    readers = readers_of(instance)
    read = {"readers": readers} if readers else {}
    return {"instance": name, "adapter": adapter.__name__, "sense": sense, **read}


def give_outcome(solution: Solution, outcome: str) -> Solution:
    """Let a feasible Solution say, wherever it goes, what the solver made of it."""
    solution.add_user_annotation(_OUTCOME, outcome)
    return solution


def outcome_of(solution: Solution) -> str | None:
    """Return the outcome of the solve that found a Solution, `optimal` or `feasible`.

    None where neither `solve` nor `sample` has returned it.
    """
    return solution.get_user_annotations().get(_OUTCOME)


def found_in(solution: Solution) -> Parameters:
    """Return what a feasible Solution says; no outcome where it was given none."""
    outcome = outcome_of(solution)
    return {
        **({"outcome": outcome} if outcome else {}),
        "objective": float(solution.objective),
        "feasible": True,
        "optimality": next(name for kind, name in _OPTIMALITY if kind == solution.optimality),
    }


def found_in_samples(samples: SampleSet) -> Parameters:
    """Return what the best feasible sample says; without one there is no solution."""
    found: Parameters = {"outcome": "no_solution", "feasible": False}
    if any(samples.feasible.values()):
        found = found_in(give_outcome(samples.best_feasible, "feasible"))
    return {**found, "num_samples": samples.num_samples()}


def log_parameters(run: Run, parameters: Mapping[str, Any]) -> None:
    """Log every parameter."""
    for name, value in parameters.items():
        run.log_parameter(name, value)


def log_cached_solve(run: Run, arguments: Mapping[str, Any], result: Solution | None) -> None:
    """Log what is known of a solve whose result was cached; None says only that none was found."""
    adapter = resolve_adapter(arguments["adapter"])
    given = given_limits(adapter, {name: arguments.get(name) for name in LIMITS})
    log_parameters(run, {**_asked_again(adapter, arguments["instance"]), **given})
    log_parameters(run, {"feasible": False} if result is None else found_in(result))


def log_cached_sample(run: Run, arguments: Mapping[str, Any], result: SampleSet | None) -> None:
    """Log what is known of a sampling whose result was cached."""
    adapter = resolve_sampler(arguments["adapter"])
    log_parameters(run, _asked_again(adapter, arguments["instance"]))
    log_parameters(run, {"feasible": False} if result is None else found_in_samples(result))


def _asked_again(adapter: type[SolverAdapter], instance: Instance) -> Parameters:
    return asked_of(adapter, instance, instance_name(instance))
