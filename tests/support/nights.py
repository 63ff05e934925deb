"""Nights of solves, sealed with OMMX alone: what the command line and analysis read."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ommx import DecisionVariable, Instance
from ommx.experiment import Experiment, Run

from ommx_prefect.solvers._solve import solve_in

# A name that is markup for a terminal, for rich and for a browser.
EVIL = "[red]<img src=x onerror=document.title='owned'>\x1b[31m</script><script>alert(1)</script>"
FLOW_RUN_ID = "0a0b0c0d-0000-4000-8000-000000000001"
ANNOTATIONS = {
    "org.ommx-prefect.flow-name": "nightly",
    "org.ommx-prefect.flow-run-name": "lazy-owl",
    "org.ommx-prefect.flow-run-url": f"http://prefect.test/runs/flow-run/{FLOW_RUN_ID}",
    "org.ommx-prefect.deployment-name": "every-night",
    "org.ommx-prefect.state": "Completed",
}


def knapsack(capacity: int, title: str) -> Instance:
    """Three items, worth 12 at best."""
    x = [DecisionVariable.binary(i) for i in range(3)]
    made = Instance.from_components(
        decision_variables=x,
        objective=3 * x[0] + 4 * x[1] + 5 * x[2],
        constraints={0: 2 * x[0] + 3 * x[1] + 4 * x[2] <= capacity},
        sense=Instance.MAXIMIZE,
    )
    made.title = title
    return made


def without_rows(title: str) -> Instance:
    """Two binaries of which one is to be taken, for samplers; -2 at best."""
    x = [DecisionVariable.binary(i) for i in range(2)]
    made = Instance.from_components(
        decision_variables=x,
        objective=3 * x[0] * x[1] - x[0] - 2 * x[1],
        constraints={},
        sense=Instance.MINIMIZE,
    )
    made.title = title
    return made


def infeasible(title: str) -> Instance:
    """A binary that would have to be 2."""
    x = DecisionVariable.binary(0)
    made = Instance.from_components(
        decision_variables=[x], objective=x, constraints={0: x >= 2}, sense=Instance.MINIMIZE
    )
    made.title = title
    return made


@dataclass(frozen=True)
class Night:
    """What a night is to hold: instances, solvers, and what else is said of each solve."""

    name: str
    instances: tuple[Instance, ...]
    adapters: tuple[str, ...] = ("highs", "scip")
    options: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)


def record(night: Night) -> Experiment:
    """Solve a night's instances, and seal what they came to."""
    experiment = Experiment(night.name, store_trace=True)
    for name, value in {**ANNOTATIONS, **night.annotations}.items():
        experiment.set_annotation(name, value)
    if night.environment:
        experiment.log_json("environment", dict(night.environment))
    for instance in night.instances:
        for adapter in night.adapters:
            with experiment.run() as run:
                _solve(run, adapter, instance, night.options)
    experiment.commit()
    return Experiment.load(night.name)


def _solve(run: Run, adapter: str, instance: Instance, options: Mapping[str, Any]) -> None:
    limits = {"time_limit_seconds": 10.0, "seed": 1}
    solve_in(run, adapter, instance, limits=limits, options=options, raise_on_failure=False)
    run.log_parameter("prefect.task", "benchmark")
    run.log_parameter("prefect.task_run_id", str(uuid.uuid4()))
    run.log_parameter("prefect.state", "Completed")


def log_run(experiment: Experiment, **parameters: Any) -> None:
    """Add a Run that is nothing but parameters: what somebody claims."""
    with experiment.run() as run:
        for name, value in parameters.items():
            run.log_parameter(name.replace("__", "."), value)


def record_failed(name: str) -> None:
    """Leave a night that fails after one solve: a checkpoint."""
    with Experiment(name) as experiment:
        with experiment.run() as run:
            solve_in(run, "highs", knapsack(5, "half"), limits={}, raise_on_failure=False)
        raise ValueError("the night fell")
