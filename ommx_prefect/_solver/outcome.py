"""The outcome and measures of a solve, kept in its Solution and read back as run parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from ommx import Optimality, SampleSet, Sense, Solution
from ommx.experiment import Run

Parameters: TypeAlias = "dict[str, bool | float | int | str]"

# A Solution keeps its outcome as a user annotation: only the solver knew the gap.
_OUTCOME, _MEASURED = "outcome", "measured"
# What is as true of a cached result as of the solve that found it; no times.
_LASTING = (
    "dual_bound",
    "gap",
    "nodes",
    "iterations",
    "incumbents",
    "solver_version",
    "solver_threads",
)
_OPTIMALITY = (
    (Optimality.Optimal, "optimal"),
    (Optimality.NotOptimal, "not_optimal"),
    (Optimality.Unspecified, "unspecified"),
)


def give_outcome(solution: Solution, outcome: str) -> Solution:
    """Write the outcome of a solve into the annotations of its feasible Solution."""
    solution.add_user_annotation(_OUTCOME, outcome)
    return solution


def give_measured(solution: Solution, measured: Mapping[str, Any]) -> None:
    """Write the measures of a solve, except its times, into the annotations of its Solution."""
    lasting = {name: measured[name] for name in _LASTING if name in measured}
    if lasting:
        solution.add_user_annotation(_MEASURED, json.dumps(lasting))


def measured_of(solution: Solution) -> Parameters:
    """Return the measures that a Solution carries of its solve, as far as they are valid."""
    try:
        told = json.loads(solution.get_user_annotations().get(_MEASURED, "{}"))
    except ValueError:
        return {}
    plain = told.items() if isinstance(told, dict) else ()
    return {
        name: value
        for name, value in plain
        if name in _LASTING and isinstance(value, (int, float, str))
    }


def outcome_of(solution: Solution) -> str | None:
    """Return the outcome of the solve that found a Solution, `optimal` or `feasible`.

    None where neither `solve` nor `sample` has returned it.
    """
    return solution.get_user_annotations().get(_OUTCOME)


def found_in(solution: Solution) -> Parameters:
    """Return the run parameters of a feasible Solution, without an outcome where it has none."""
    outcome = outcome_of(solution)
    return {
        **({"outcome": outcome} if outcome else {}),
        "objective": float(solution.objective),
        "feasible": True,
        "optimality": next(name for kind, name in _OPTIMALITY if kind == solution.optimality),
    }


def found_in_samples(samples: SampleSet) -> Parameters:
    """Return the run parameters of the best feasible sample, or of no solution."""
    found: Parameters = {"outcome": "no_solution", "feasible": False}
    if any(samples.feasible.values()):
        found = found_in(give_outcome(samples.best_feasible, "feasible"))
    return {**found, "num_samples": samples.num_samples(), **_sampled(samples)}


def _sampled(samples: SampleSet) -> Parameters:
    """Return the share of feasible samples, and the best objective, feasible or not."""
    feasible, energies = samples.feasible.values(), samples.objectives.values()
    if not feasible:
        return {}
    best = max(energies) if samples.sense == Sense.Maximize else min(energies)
    return {"best_energy": float(best), "feasible_share": sum(feasible) / len(feasible)}


def effort_of(options: Mapping[str, Any]) -> Parameters:
    """Return the effort that a sampler was given (reads, sweeps), as far as it was given any."""
    told = {"reads": options.get("num_reads"), "sweeps": options.get("num_sweeps")}
    return {name: value for name, value in told.items() if value is not None}


def log_parameters(run: Run, parameters: Mapping[str, Any]) -> None:
    """Log every parameter."""
    for name, value in parameters.items():
        run.log_parameter(name, value)
