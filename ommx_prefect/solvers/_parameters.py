"""The run parameters of a solve, the same for a fresh result, a cached one, and none at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ommx import Instance, SampleSet, Sense, Solution
from ommx.adapter import SolverAdapter
from ommx.experiment import Run

from ommx_prefect._solver.backends import resolve_adapter, resolve_sampler
from ommx_prefect._solver.options import LIMITS, OPTION, given_limits, plain_values
from ommx_prefect._solver.outcome import (
    Parameters,
    effort_of,
    found_in,
    found_in_samples,
    log_parameters,
    measured_of,
    outcome_of,
)
from ommx_prefect._solver.telemetry import INSTANCE
from ommx_prefect.instances._digest import instance_digest
from ommx_prefect.instances._name import instance_name, require_instance
from ommx_prefect.instances._readers_note import readers_of

__all__ = ["log_cached_sample", "log_cached_solve", "outcome_of"]  # which old pickles name here

_SENSES = ((Sense.Minimize, "minimize"), (Sense.Maximize, "maximize"))


def asked_of(
    adapter: type[SolverAdapter], instance: Instance, name: str, digest: str
) -> Parameters:
    """Return the parameters of a solve's input: instance, digest, adapter, sense and readers.

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


def log_cached_solve(run: Run, arguments: Mapping[str, Any], result: Solution | None) -> None:
    """Log the parameters of a solve whose result was cached; a cached None means no solution."""
    _log_asked(run, arguments)
    if result is None:
        log_parameters(run, {"feasible": False})
    else:
        log_parameters(run, {**measured_of(result), **found_in(result)})


def log_unsolved(run: Run, arguments: Mapping[str, Any]) -> None:
    """Log the parameters of a solve that never begins, and attach its instance.

    Args:
        run: The Run.
        arguments: Those of `solve`.
    """
    require_instance(arguments["instance"])
    _log_asked(run, arguments)
    run.log_instance(INSTANCE, arguments["instance"])


def log_cached_sample(run: Run, arguments: Mapping[str, Any], result: SampleSet | None) -> None:
    """Log the parameters of a sampling whose result was cached."""
    adapter = resolve_sampler(arguments["adapter"])
    log_parameters(run, _asked_again(adapter, arguments))
    log_parameters(run, effort_of(arguments.get("options") or {}))
    log_parameters(run, {"feasible": False} if result is None else found_in_samples(result))


def _log_asked(run: Run, arguments: Mapping[str, Any]) -> None:
    adapter = resolve_adapter(arguments["adapter"])
    given = given_limits(adapter, {name: arguments.get(name) for name in LIMITS})
    log_parameters(run, {**_asked_again(adapter, arguments), **given})


def _asked_again(adapter: type[SolverAdapter], arguments: Mapping[str, Any]) -> Parameters:
    instance = arguments["instance"]
    digest = instance_digest(instance)  # of a cached result known: it was part of its key
    options = options_asked(plain_values(arguments.get("options") or {}))
    name = instance_name(instance, lambda: digest)
    return {**asked_of(adapter, instance, name, digest), **options}
