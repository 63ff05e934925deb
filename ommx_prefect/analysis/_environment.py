"""The machine and software of an experiment, and whether times of two are comparable.

Each host that took part has left an attachment of its own: `environment`, and beside it
`environment@1` or `environment@<subflow>`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd
from ommx.experiment import Experiment

from ommx_prefect._registry.whole import require_experiment
from ommx_prefect._solver.telemetry import ENVIRONMENT

# What must agree for times to be compared -> the keys under which an environment may have it.
COMPARED: dict[str, tuple[str, ...]] = {
    "cpu": ("cpu", "cpu_model"),
    "cores": ("cores", "cpu_cores"),
    "os": ("os", "platform"),
    "solvers": ("solvers", "solver_versions"),
}

Document: TypeAlias = "Mapping[str, Any]"
NightEnvironment: TypeAlias = "Document | Sequence[Document] | None"


def is_environment(name: str) -> bool:
    """Tell whether an attachment of this name says on what machine an experiment ran."""
    return name.partition("@")[0] == ENVIRONMENT


def environments_of(experiment: Experiment) -> list[dict[str, Any]]:
    """Return what an experiment says of each host that took part, in the order of their names.

    They are the experiment's attachments `environment` and `environment@...`.
    """
    names = [name for name in experiment.attachment_names if is_environment(name)]
    found = [document for name in names if (document := _document(experiment, name))]
    return sorted(found, key=lambda document: (str(document.get("host", "")), repr(document)))


def environment_of(experiment: Experiment) -> dict[str, Any] | None:
    """Return what an experiment says of the machine and software it ran on.

    Where several hosts took part, what they differ in is a list of what each of them says. None
    where nothing is recorded.

    Raises:
        TypeError: It is no Experiment, but its name for example.
    """
    require_experiment(experiment)
    return _joined(environments_of(experiment)) or None


def _document(experiment: Experiment, name: str) -> dict[str, Any] | None:
    try:
        found = json.loads(experiment.get_blob(name))
    except (ValueError, RecursionError):  # a user's own, of another kind
        return None
    return found if isinstance(found, dict) else None


def _joined(documents: Sequence[Document]) -> dict[str, Any]:
    keys = dict.fromkeys(key for document in documents for key in document)
    return {key: _one([x[key] for x in documents if key in x]) for key in keys}


def _one(values: list[Any]) -> Any:
    if all(isinstance(value, Mapping) for value in values):
        return _joined(values)
    distinct = [x for number, x in enumerate(values) if x not in values[:number]]
    return distinct[0] if len(distinct) == 1 else distinct


def differences(environments: Sequence[NightEnvironment]) -> tuple[str, ...]:
    """Say why the times of experiments cannot be compared; nothing where they can.

    Args:
        environments: What `environments_of` tells of each night, or of a night on one host what
            `environment_of` does. Hosts of one night that differ are as bad as nights that do.
    """
    nights = [list(_hosts(each)) for each in environments]
    if not all(nights):
        return ("the environment of a night is not recorded",)
    found = []
    for title, keys in COMPARED.items():
        values = {_value(host, keys) for night in nights for host in night}
        if len(values) > 1:
            found.append(f"{title} differs: {', '.join(sorted(values))}")
    return tuple(found)


def _hosts(night: NightEnvironment) -> Iterator[Document]:
    hosts = [night] if isinstance(night, Mapping) else night or ()
    yield from (host for host in hosts if host)


def crowds(nights: Sequence[pd.DataFrame]) -> tuple[str, ...]:
    """Say that different numbers of solves ran on a host at once, which makes times differ."""
    most = {int(night["solves_at_once"].max()) for night in nights if night["solves_at_once"].any()}
    if len(most) < 2:
        return ()
    numbers = ", ".join(map(str, sorted(most)))
    return (f"the number of solves that ran at once differs: {numbers}",)


def _value(environment: Document, keys: Sequence[str]) -> str:
    return repr(next((environment[key] for key in keys if key in environment), None))


def missing_library() -> tuple[str, ...]:
    """Say that times cannot be tested, where SciPy is not installed."""
    if importlib.util.find_spec("scipy"):
        return ()
    return ("SciPy is not installed, which tests them: pip install scipy",)
