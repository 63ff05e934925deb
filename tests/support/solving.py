"""How tests solve in a Run and read back what stands in the committed experiment."""

from __future__ import annotations

import itertools
import pickle
import random
from dataclasses import dataclass
from typing import Any

import cloudpickle
from ommx import DecisionVariable, Instance, Sense
from ommx.experiment import Experiment, SealedRun

from ommx_prefect.exceptions import SolveOutcomeError

SOLVERS = ("highs", "scip", "python-mip")
X = DecisionVariable.integer(0, lower=0)
BITS = [DecisionVariable.binary(i) for i in range(3)]


def instance_of(variables, objective, constraints=None, sense=Sense.Minimize, **special):
    return Instance.from_components(
        decision_variables=variables,
        objective=objective,
        constraints=constraints or {},
        sense=sense,
        **special,
    )


def penalised() -> Instance:
    """A QUBO none of whose samples can satisfy the constraint it came from."""
    impossible = instance_of(BITS, sum(BITS), {0: BITS[0] + BITS[1] == 3}).penalty_method()
    return impossible.with_parameters({each.id: 1.0 for each in impossible.parameters})


@dataclass
class Recorded:
    """What came out of a call, and what stands in the committed experiment."""

    value: Any
    error: SolveOutcomeError | None
    run: SealedRun
    parameters: dict[str, Any]


def recorded(call, *args: Any, **kwargs: Any) -> Recorded:
    experiment = Experiment.with_temp_local_registry()
    value = error = None
    try:
        with experiment.run() as run:
            value = call(run, *args, **kwargs)
    except SolveOutcomeError as raised:
        error = raised
    experiment.commit()
    (row,) = experiment.run_parameters_df().to_dict("records")
    return Recorded(value, error, experiment.runs[0], row)


def check(found: Recorded, outcome: str) -> None:
    answered = outcome in ("optimal", "feasible")
    assert found.parameters["outcome"] == outcome
    assert found.parameters["feasible"] is answered
    assert ("objective" in found.parameters) is answered
    assert found.run.status == ("finished" if answered else "failed")
    (solve,) = found.run.solves
    assert solve.status == found.run.status
    assert (solve.output is not None) is answered
    if answered:
        assert found.value.feasible
        assert found.parameters["objective"] == found.value.objective == solve.output.objective
    else:
        assert found.error.outcome == outcome
        for dumps in (pickle.dumps, cloudpickle.dumps):
            again = pickle.loads(dumps(found.error))
            assert (type(again), str(again)) == (type(found.error), str(found.error))


def slow_instance() -> Instance:
    """A market split that takes any solver hours (Cornuejols and Dawande 1999), maximised."""
    draw = random.Random(1).randint
    x = [DecisionVariable.binary(i) for i in range(50)]
    above = [DecisionVariable.integer(100 + j, lower=0) for j in range(6)]
    below = [DecisionVariable.integer(200 + j, lower=0) for j in range(6)]
    rows = {}
    for j in range(6):
        weights = [draw(0, 99) for _ in x]
        bought = sum(w * v for w, v in zip(weights, x, strict=True))
        rows[j] = bought + above[j] - below[j] == sum(weights) // 2
    missed = sum(above) + sum(below)
    instance = instance_of([*x, *above, *below], -1 * missed, rows, Sense.Maximize)
    instance.title = "slow"
    return instance


def eight_capacities(constant: float = 0.0) -> Instance:
    """A knapsack with eight capacities, which takes a solver some nodes and half a second."""
    draw = random.Random(1).randint
    x = [DecisionVariable.binary(i) for i in range(60)]
    instance = instance_of(
        x,
        sum(draw(5, 100) * v for v in x) + constant,
        {j: sum(draw(5, 100) * v for v in x) <= 1200 for j in range(8)},
        Sense.Maximize,
    )
    instance.title = "eight"
    return instance


def close_weights() -> Instance:
    """A knapsack that HiGHS proves at once, within its gap of 1e-4, and SCIP, within 0, never."""
    draw = random.Random(1).randint
    x = [DecisionVariable.binary(i) for i in range(40)]
    weights = [2 * draw(1_000_000, 2_000_000) for _ in x]
    weight = sum(w * v for w, v in zip(weights, x, strict=True))
    instance = instance_of(x, weight, {0: weight <= sum(weights) // 2 | 1}, Sense.Maximize)
    instance.title = "close"
    return instance


def slow_qubo() -> Instance:
    """Forty binary variables without a constraint, to be sampled fifty million times."""
    x = [DecisionVariable.binary(i) for i in range(40)]
    instance = instance_of(x, sum(a * b for a, b in itertools.pairwise(x)))
    instance.title = "qubo"
    return instance


SLOW_SCRIPT = """
import sys
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.runtime import flow_run
from ommx_prefect import current_run, flow, task
from ommx_prefect.solvers import sample, solve
from tests.support.solving import slow_instance, slow_qubo

@task
def logged(instance, when="now"):
    current_run().log_solve(OMMXHighsAdapter, instance)

@flow
def night(call):
    print("flow run", flow_run.id, flush=True)
    eval(call, {**globals(), "instance": slow_instance()})

night(sys.argv[1])
"""
