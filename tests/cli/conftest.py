"""The nights that the command line looks at, recorded once; and how a command is called."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from ommx.experiment import Experiment
from typer.testing import CliRunner

from ommx_prefect.cli import app
from tests.support.nights import EVIL, Night, infeasible, knapsack, log_run, record, record_failed

REPOSITORY = "nights.local/bench"


@dataclass(frozen=True)
class Nights:
    """Image names."""

    repository: str = REPOSITORY
    first: str = f"{REPOSITORY}:first"
    second: str = f"{REPOSITORY}:second"
    lying: str = f"{REPOSITORY}-lying:one"
    failed: str = f"{REPOSITORY}-failed:one"


@pytest.fixture(scope="session")
def nights() -> Nights:
    """Two nights on the same instances, one of contradicting solvers, and one that failed."""
    made = Nights()
    instances = (knapsack(5, "small"), knapsack(7, EVIL), infeasible("none"))
    for name in (made.first, made.second):
        record(Night(name, instances))
    lying = Experiment(made.lying)
    lying.set_annotation("org.ommx-prefect.degraded", "the recording is degraded: a full disk")
    for adapter, objective in (("OMMXHighsAdapter", 7.0), ("OMMXPySCIPOptAdapter", 9.0)):
        log_run(
            lying,
            instance=EVIL,
            adapter=adapter,
            outcome="optimal",
            sense="maximize",
            objective=objective,
            solve_seconds=1.5,
        )
    lying.commit()
    with contextlib.suppress(ValueError):
        record_failed(made.failed)
    return made


@dataclass(frozen=True)
class Answer:
    """What a command has answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def command() -> Callable[..., Answer]:
    """Call the command line in this process."""

    def call(*arguments: str) -> Answer:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call
