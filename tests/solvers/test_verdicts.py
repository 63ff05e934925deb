"""Infeasible, unbounded and constant instances are called so, whatever a backend says of them."""

from __future__ import annotations

import math

import pytest
from ommx import DecisionVariable, Instance, Sense

from ommx_prefect._solver.backends import BACKENDS
from ommx_prefect.solvers._solve import solve_in
from tests.support.solving import SOLVERS, check, close_weights, instance_of, recorded

MAX = Sense.Maximize
BIT = DecisionVariable.binary(0)
SMALL = DecisionVariable.integer(1, lower=0, upper=5)
N = DecisionVariable.integer(2, lower=0)
M = DecisionVariable.integer(3, lower=0)
PART = DecisionVariable.continuous(4, lower=0, upper=4)
FREE = DecisionVariable.continuous(5)
Z = [DecisionVariable.integer(i) for i in (6, 7)]
TRUE, FALSE = (lambda x: 0 * x <= 1), (lambda x: 0 * x <= -1)

CASES: list[tuple[str, Instance, str]] = [
    # Infeasible, with and without an objective that could go on for ever.
    ("integers out of bounds", instance_of([SMALL], SMALL, {0: SMALL >= 9}), "infeasible"),
    ("continuous out of bounds", instance_of([PART], PART, {0: PART >= 9}), "infeasible"),
    ("too many bits", instance_of([BIT], BIT, {0: BIT >= 2}), "infeasible"),
    ("parity", instance_of([N, M], N, {0: 2 * N - 2 * M == 1}), "infeasible"),
    ("parity, upwards", instance_of([N, M], N, {0: 2 * N - 2 * M == 1}, MAX), "infeasible"),
    (
        "free parity",
        instance_of(Z, 6 * Z[0] + 6 * Z[1], {0: 2 * Z[0] - 6 * Z[1] == -1}),
        "infeasible",
    ),
    ("a half, upwards", instance_of([N, M], M, {0: 4 * N == 9, 1: M <= 3 * N}, MAX), "infeasible"),
    # Unbounded.
    ("integers for ever", instance_of([N], N, sense=MAX), "unbounded"),
    ("continuous for ever", instance_of([FREE], FREE), "unbounded"),
    ("a row that binds nothing", instance_of([FREE], 6 * FREE, {0: FREE <= -9}), "unbounded"),
    ("mixed", instance_of([N, FREE], -6 * FREE, {0: 2 * FREE <= 6 * N - 3}, MAX), "unbounded"),
    ("mixed, both", instance_of([N, FREE], FREE - N, {0: FREE >= -N}), "unbounded"),
    # Constant: the objective, every constraint, or both.
    ("a constant objective", instance_of([SMALL], 3, {0: SMALL >= 2}), "optimal"),
    ("constant, infeasible", instance_of([SMALL], 3, {0: 2 * SMALL == 3}), "infeasible"),
    ("a constant", instance_of([SMALL], 3), "optimal"),
    ("a constant, true", instance_of([SMALL], 3, {0: TRUE(SMALL)}), "optimal"),
    ("a constant, false", instance_of([SMALL], 3, {0: TRUE(SMALL), 1: FALSE(SMALL)}), "infeasible"),
    ("no variables", instance_of([], 3), "optimal"),
    (
        "constant constraints",
        instance_of([SMALL], SMALL, {0: TRUE(SMALL), 1: TRUE(SMALL)}),
        "optimal",
    ),
    ("constant, of bits", instance_of([BIT], BIT, {0: 0 * BIT == 0}), "optimal"),
    ("false of bits", instance_of([BIT], BIT, {0: FALSE(BIT)}), "infeasible"),
    ("false and unbounded", instance_of([FREE], FREE, {0: FALSE(FREE)}), "infeasible"),
    ("true and unbounded", instance_of([N], N, {0: TRUE(N)}, MAX), "unbounded"),
    ("false, of more", instance_of([N], N, {0: N >= 3, 1: FALSE(N)}), "infeasible"),
    ("true, of more", instance_of([N], N, {0: N >= 3, 1: TRUE(N)}), "optimal"),
]
# The sampler encodes into bits: what cannot become bits is not applicable, and nothing is proved.
SAMPLED = {
    "integers out of bounds": "infeasible",
    "too many bits": "infeasible",
    "continuous for ever": "not_applicable",
    "integers for ever": "not_applicable",
    "a constant": "feasible",
    "a constant, true": "feasible",
    "no variables": "feasible",
}
ROWS = [
    *((name, made, adapter, outcome) for name, made, outcome in CASES for adapter in SOLVERS),
    *((name, made, "openjij", SAMPLED[name]) for name, made, _ in CASES if name in SAMPLED),
]


@pytest.mark.parametrize(
    ("made", "adapter", "outcome"),
    [pytest.param(*row, id=f"{name}, {row[1]}") for name, *row in ROWS],
)
def test_each_backend_tells_infeasible_unbounded_and_constant_apart(made, adapter, outcome):
    check(recorded(solve_in, adapter, made, limits={"seed": 1}), outcome)


def test_a_solution_that_is_not_the_optimum_the_solver_speaks_of_is_not_called_optimal():
    whole, part = Z[0], DecisionVariable.continuous(8, lower=0, upper=5)
    made = instance_of([whole, part], 2 * part + 3, {0: 2 * whole - 3 * part <= 0})
    found = recorded(solve_in, "python-mip", made, limits={"seed": 1})
    # CBC's preprocessing hands out the values of another solution than that of its objective, 3.
    check(found, "optimal" if found.parameters["objective"] == pytest.approx(3) else "feasible")
    unprepared = recorded(solve_in, "python-mip", made, limits={}, options={"preprocess": 0})
    check(unprepared, "optimal")
    assert unprepared.parameters["objective"] == pytest.approx(3)


def test_what_cannot_be_decided_is_no_solution_and_not_unbounded():
    n = [DecisionVariable.integer(i, lower=0) for i in range(3)]
    row = -2 * n[0] + 6 * n[1] - 4 * n[2] == 5
    made = instance_of(n, n[0] - 2 * n[1] + 4 * n[2], {0: row}, MAX)
    found = recorded(solve_in, "python-mip", made, limits={"time_limit_seconds": 0.5})
    assert found.parameters["outcome"] in ("no_solution", "infeasible")


def test_what_is_proved_within_the_gap_is_optimal_though_the_solver_stopped_at_a_limit():
    limits = {"mip_gap": 5e-5}
    found = recorded(solve_in, "scip", close_weights(), limits=limits).parameters
    assert 0 < found["gap"] <= 5e-5
    assert found["outcome"] == "optimal"


@pytest.mark.parametrize(
    ("adapter", "primal", "dual", "gap"),
    [
        ("highs", 10.0, 8.0, 0.2),
        ("highs", -10.0, -12.0, 0.2),
        ("highs", 10.0, -5.0, 1.5),
        ("highs", 0.0, 0.0, 0.0),
        ("highs", 0.0, -1.0, math.inf),
        ("scip", 10.0, 8.0, 0.25),
        ("scip", 10.0, -5.0, math.inf),
        ("scip", 0.0, -1.0, math.inf),
        ("scip", -46.0, -9e-13, math.inf),
        ("scip", 1e-12, -1e-12, 0.0),
        ("python-mip", 10.0, 8.0, 0.2),
    ],
)
def test_the_gap_of_a_checkpoint_is_that_of_its_solver(adapter, primal, dual, gap):
    driver = next(backend.driver for backend in BACKENDS if backend.name == adapter)
    assert driver is not None
    assert driver.gap_between(primal, dual) == gap
