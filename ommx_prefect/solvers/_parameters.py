"""The run parameters of a solve, the same for a fresh result and for a cached one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from ommx import Instance, Optimality, SampleSet, Sense, Solution
from ommx.adapter import SolverAdapter
from ommx.experiment import Run

from ommx_prefect.instances._digest import instance_digest
from ommx_prefect.instances._name import instance_name
from ommx_prefect.instances._readers_note import readers_of
from ommx_prefect.solvers._backends import resolve_adapter, resolve_sampler
from ommx_prefect.solvers._options import LIMITS, given_limits, plain_values

Parameters: TypeAlias = "dict[str, bool | float | int | str]"

# Before the names of options under which a solve is known that has left no record of them.
OPTION = "option."
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
_SENSES = ((Sense.Minimize, "minimize"), (Sense.Maximize, "maximize"))
_OPTIMALITY = (
    (Optimality.Optimal, "optimal"),
    (Optimality.NotOptimal, "not_optimal"),
    (Optimality.Unspecified, "unspecified"),
)


def asked_of(
    adapter: type[SolverAdapter], instance: Instance, name: str, digest: str
) -> Parameters:
    """Return what is solved, by what, and which readers agreed on the file it comes from.

    Args:
        adapter: The adapter.
        instance: The instance.
        name: What it is called.
        digest: Its `instance_digest`.
    """
    sense = next(word for sense, word in _SENSES if sense == instance.sense)
    readers = readers_of(instance)
    return {
        "instance": name,
        "instance_digest": digest,
        "adapter": adapter.__name__,
        "sense": sense,
        **({"readers": readers} if readers else {}),
    }


def options_asked(options: Mapping[str, Any]) -> Parameters:
    """Return options under the backend's own names as run parameters; a list or dict as JSON."""
    return {f"{OPTION}{name}": _plain(value) for name, value in options.items()}


def _plain(value: Any) -> bool | float | int | str:
    if isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value, default=str)


def give_outcome(solution: Solution, outcome: str) -> Solution:
    """Let a feasible Solution say, wherever it goes, what the solver made of it."""
    solution.add_user_annotation(_OUTCOME, outcome)
    return solution


def give_measured(solution: Solution, measured: Mapping[str, Any]) -> None:
    """Let a Solution say what was measured of its solve, but for its times."""
    lasting = {name: measured[name] for name in _LASTING if name in measured}
    if lasting:
        solution.add_user_annotation(_MEASURED, json.dumps(lasting))


def _measured_of(solution: Solution) -> Parameters:
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


def log_cached_solve(run: Run, arguments: Mapping[str, Any], result: Solution | None) -> None:
    """Log what is known of a solve whose result was cached; None says only that none was found."""
    adapter = resolve_adapter(arguments["adapter"])
    given = given_limits(adapter, {name: arguments.get(name) for name in LIMITS})
    log_parameters(run, {**_asked_again(adapter, arguments), **given})
    if result is None:
        log_parameters(run, {"feasible": False})
    else:
        log_parameters(run, {**_measured_of(result), **found_in(result)})


def log_cached_sample(run: Run, arguments: Mapping[str, Any], result: SampleSet | None) -> None:
    """Log what is known of a sampling whose result was cached."""
    adapter = resolve_sampler(arguments["adapter"])
    log_parameters(run, _asked_again(adapter, arguments))
    log_parameters(run, effort_of(arguments.get("options") or {}))
    log_parameters(run, {"feasible": False} if result is None else found_in_samples(result))


def _asked_again(adapter: type[SolverAdapter], arguments: Mapping[str, Any]) -> Parameters:
    instance = arguments["instance"]
    digest = instance_digest(instance)  # known: it was part of the key that found the result
    options = options_asked(plain_values(arguments.get("options") or {}))
    name = instance_name(instance, lambda: digest)
    return {**asked_of(adapter, instance, name, digest), **options}
