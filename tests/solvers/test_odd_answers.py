"""Answers at the edges: constants alone, an optimum of 0, and tolerances of another kind."""

from __future__ import annotations

import pytest
from ommx import DecisionVariable, Instance, Sense

from ommx_prefect.solvers._solve import solve_in
from tests.support.solving import BITS, SOLVERS, instance_of, recorded

SMALL = DecisionVariable.integer(1, lower=0, upper=5)


@pytest.mark.parametrize("adapter", SOLVERS)
@pytest.mark.parametrize("constant", [5, -3])
def test_a_constant_objective_is_its_own_bound(adapter, constant):
    told = recorded(solve_in, adapter, instance_of([SMALL], constant), limits={}).parameters
    assert (told["objective"], told["dual_bound"], told["gap"]) == (constant, constant, 0)


@pytest.mark.parametrize("adapter", SOLVERS)
def test_an_optimum_of_0_has_no_gap(adapter):
    told = recorded(solve_in, adapter, instance_of(BITS, sum(BITS)), limits={}).parameters
    assert (told["objective"], told["dual_bound"], told["gap"]) == (0, 0, 0)


def test_an_answer_that_ommx_finds_infeasible_names_the_constraint_that_is_missed():
    """SCIP allows 1e-6 of a row's size, OMMX 1e-6; here rows are of ten millions."""
    x = DecisionVariable.integer(0, lower=0, upper=10)
    y = DecisionVariable.continuous(1, lower=0, upper=10)
    z = DecisionVariable.integer(2, lower=0, upper=10)
    rows = {
        0: 1e6 * x + 8e7 * y + 2 * z <= 5_000_000.5,
        1: 3 * x + 8 * y + 6e6 * z <= 8e6,
    }
    instance = instance_of([x, y, z], 9 * x + 3 * y + 3 * z, rows, Sense.Maximize)
    found = recorded(solve_in, "scip", instance, limits={})
    assert found.parameters["outcome"] == "error"
    assert "constraint number 0 is missed by" in str(found.error)
    assert "OMMX allows 1e-06" in str(found.error)


def small_beside(coefficient: float) -> Instance:
    x = DecisionVariable.continuous(0, lower=-3, upper=3)
    y = DecisionVariable.integer(1, lower=-3, upper=3)
    return instance_of([x, y], x + y, {0: coefficient * x + y >= 1})


def test_a_gap_is_that_of_the_solution_that_is_recorded():
    """CBC says an optimum of -2, and hands out a solution of 1."""
    told = recorded(solve_in, "python-mip", small_beside(1e-11), limits={}).parameters
    assert (told["outcome"], told["objective"], told["dual_bound"]) == ("feasible", 1, -2)
    assert told["gap"] == 3


def test_without_a_solution_there_is_no_gap():
    """CBC's optimum misses the constraint by far."""
    found = recorded(solve_in, "python-mip", small_beside(1e16), limits={})
    assert found.parameters["outcome"] == "no_solution"
    assert "gap" not in found.parameters


def test_a_coefficient_that_highs_refuses_is_named():
    found = recorded(solve_in, "highs", small_beside(1e16), limits={})
    assert found.parameters["outcome"] == "error"
    assert "coefficient -1e+16 in constraint" in str(found.error)
    assert "is not below 1e+15" in str(found.error)
