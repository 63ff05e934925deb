"""The machine and software of an experiment, and whether times of two are comparable."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from ommx.experiment import Experiment

ATTACHMENT = "environment"
# What must agree for times to be compared -> the keys under which an environment may have it.
COMPARED: dict[str, tuple[str, ...]] = {
    "cpu": ("cpu", "cpu_model"),
    "cores": ("cores", "cpu_cores"),
    "os": ("os", "platform"),
    "solvers": ("solvers", "solver_versions"),
}


def environment_of(experiment: Experiment) -> dict[str, Any] | None:
    """Return what an experiment says of the machine and software it ran on.

    It is the experiment's attachment `environment`; None where it has none.
    """
    if ATTACHMENT not in experiment.attachment_names:
        return None
    found = json.loads(experiment.get_blob(ATTACHMENT))
    return found if isinstance(found, dict) else None


def differences(environments: Sequence[Mapping[str, Any] | None]) -> tuple[str, ...]:
    """Say why the times of experiments cannot be compared; nothing where they can."""
    if any(not environment for environment in environments):
        return ("the environment of a night is not recorded",)
    found = []
    for title, keys in COMPARED.items():
        values = {_value(environment, keys) for environment in environments if environment}
        if len(values) > 1:
            found.append(f"{title} differs: {', '.join(sorted(values))}")
    return tuple(found)


def crowds(nights: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    """Say that different numbers of solves ran on a host at once, which makes times differ."""
    most = {int(night["solves_at_once"].max()) for night in nights if night["solves_at_once"].any()}
    if len(most) < 2:
        return ()
    return (f"solves at once differ: {', '.join(map(str, sorted(most)))}",)


def _value(environment: Mapping[str, Any], keys: Sequence[str]) -> str:
    return repr(next((environment[key] for key in keys if key in environment), None))


def missing_library() -> tuple[str, ...]:
    """Say that times cannot be tested, where SciPy is not installed."""
    if importlib.util.find_spec("scipy"):
        return ()
    return ("SciPy is not installed, which tests them: pip install scipy",)
