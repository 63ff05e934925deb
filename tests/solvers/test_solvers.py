"""Every way a solve can end has its outcome, its error and its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ommx import Bound, DecisionVariable, Instance, Kind, OneHotConstraint, Sense, Solution
from ommx.adapter import SolverAdapter
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers._solve import solve_in
from tests.support.instance_files import are_here, instance_file
from tests.support.solving import BITS, SOLVERS, X, check, instance_of, recorded

LIMIT = {"time_limit_seconds": 1.0}
FREE = DecisionVariable.continuous(1)


def fixed_to_zero() -> Instance:
    fixed = DecisionVariable(0, Kind.Binary, Bound(0, 0))
    return instance_of([fixed, BITS[1]], fixed + BITS[1], {0: fixed + BITS[1] <= 2}, Sense.Maximize)


def one_hot() -> Instance:
    constraint = OneHotConstraint(variables=[0, 1, 2])
    objective = 3 * BITS[0] + 2 * BITS[1] + 5 * BITS[2]
    return instance_of(BITS, objective, one_hot_constraints={0: constraint})


INFEASIBLE_OR_UNBOUNDED = instance_of(
    [X, FREE], X + FREE, {0: X - FREE == 0.5, 1: X >= 3}, Sense.Maximize
)
# Where SCIP and HiGHS both stop before they know which of the two it is.
AND_INFEASIBLE = instance_of(
    [X, FREE, DecisionVariable.integer(2, lower=0)],
    X + FREE,
    {0: 2 * X - 2 * DecisionVariable.integer(2) == 1},
    Sense.Maximize,
)

# What, with which solvers, and how it ends.
MADE: list[tuple[str, Instance, tuple[str, ...], str]] = [
    ("an unbounded integer", instance_of([X], X, sense=Sense.Maximize), SOLVERS, "unbounded"),
    ("infeasible or unbounded", INFEASIBLE_OR_UNBOUNDED, SOLVERS, "unbounded"),
    ("infeasible and unbounded", AND_INFEASIBLE, SOLVERS, "infeasible"),
    ("a binary fixed to 0", fixed_to_zero(), SOLVERS, "optimal"),
    (
        "a false constant constraint",
        instance_of([X], X, {0: 0 * X + 1 <= 0}),
        SOLVERS,
        "infeasible",
    ),
    ("one-hot, which is prepared", one_hot(), SOLVERS, "optimal"),
    ("no variables", instance_of([], 0), ("highs", "scip"), "optimal"),
    # OMMX's preparation calls it infeasible.
    ("a slack without bound", instance_of([X], X, {0: X >= 3}), ("openjij",), "not_applicable"),
    (
        "tiny coefficients",
        instance_of([X], 1e-12 * X, {0: 1e-12 * X >= 1e-10}),
        ("highs",),
        "optimal",
    ),
]
FILES: list[tuple[str, tuple[str, ...], str]] = [
    ("klein1.mps", SOLVERS, "infeasible"),
    ("good-mps-free-var.mps", SOLVERS, "unbounded"),
    ("p2m2p1m1p0n100.mps", ("highs", "scip", "python-mip"), "no_solution"),
    ("gen-ip054.mps", SOLVERS, "feasible"),
    ("QPLIB_3506.qplib", ("highs", "python-mip"), "not_applicable"),
    ("QPLIB_3506.qplib", ("scip", "openjij"), "feasible"),
    ("klein1.mps", ("openjij",), "not_applicable"),
]
OPTIMA = [
    ("afiro.mps", -464.75314285714286, SOLVERS),
    ("flugpl.mps", 1201500, SOLVERS),
    ("packing35.mps.gz", -1264, SOLVERS),
    ("transport1500.mps.gz", 7213, SOLVERS),
    ("shifted40.mps.gz", 5674, SOLVERS),
    ("25fv47.mps.gz", 5501.8458882867448, ("highs", "scip")),
    ("p0033.mps.gz", 3089, SOLVERS),
    # The literature leaves out the constant that the file has.
    ("e226.mps.gz", -18.751929066370549 + 7.113, ("highs", "scip")),
]


@pytest.mark.parametrize(
    ("instance", "adapter", "outcome"),
    [
        pytest.param(instance, adapter, outcome, id=f"{name}, {adapter}")
        for name, instance, adapters, outcome in MADE
        for adapter in adapters
    ],
)
def test_each_trap_gets_the_right_outcome(instance, adapter, outcome):
    check(recorded(solve_in, adapter, instance, limits=limits_of(adapter)), outcome)


def limits_of(adapter):
    return {"seed": 1} if adapter == "openjij" else LIMIT


@pytest.mark.server
@pytest.mark.parametrize(
    ("file", "adapter", "outcome"),
    [(file, adapter, outcome) for file, adapters, outcome in FILES for adapter in adapters],
)
def test_each_hard_file_gets_the_right_outcome(file, adapter, outcome, open_instances):
    instance = load_instance(open_instances / file).instance
    limits = limits_of(adapter)
    found = recorded(solve_in, adapter, instance, limits=limits)
    check(found, outcome)
    assert found.parameters["instance"] == file.partition(".")[0]
    assert {name: found.parameters[name] for name in limits} == limits


@pytest.mark.server
@pytest.mark.parametrize(
    ("file", "reference", "adapter"),
    [
        (file, reference, adapter)
        for file, reference, adapters in OPTIMA
        for adapter in adapters
        if are_here(file)
    ],
)
def test_optima_are_those_of_the_literature(file, reference, adapter):
    instance = load_instance(instance_file(file)).instance
    found = recorded(solve_in, adapter, instance, limits={"time_limit_seconds": 200})
    check(found, "optimal")
    assert found.parameters["objective"] == pytest.approx(reference, rel=1e-4)
    assert found.parameters["optimality"] == "optimal"
    assert 0 < found.parameters["solve_seconds"] < 200


def test_the_solve_record_holds_the_options_that_were_set(open_instances):
    instance = load_instance(open_instances / "flugpl.mps").instance
    limits = {"time_limit_seconds": 5, "mip_gap": 0.0, "seed": 3, "threads": 1}
    found = recorded(solve_in, "highs", instance, limits=limits, options={"presolve": "off"})
    assert found.run.solves[0].adapter_options == {
        "time_limit": 5.0,
        "mip_rel_gap": 0.0,
        "random_seed": 3,
        "threads": 1,
        "presolve": "off",
    }
    assert {name: found.parameters[name] for name in limits} == limits
    assert found.parameters["adapter"] == "OMMXHighsAdapter"


@pytest.mark.parametrize("adapter", SOLVERS)
def test_a_solution_within_a_wide_gap_is_not_called_optimal(adapter, open_instances):
    instance = load_instance(open_instances / "flugpl.mps").instance
    found = recorded(solve_in, adapter, instance, limits={"mip_gap": 0.5, "seed": 4})
    check(found, "feasible")


def test_a_failure_is_none_when_nothing_shall_be_raised(open_instances):
    instance = load_instance(open_instances / "klein1.mps").instance
    found = recorded(solve_in, "highs", instance, limits={}, raise_on_failure=False)
    assert (found.value, found.error, found.run.status) == (None, None, "finished")
    assert (found.parameters["outcome"], found.run.solves[0].status) == ("infeasible", "failed")
    # No error of the Run tells why, so that a parameter does; tables and reports show it.
    assert found.parameters["reason"] == "no solution satisfies all constraints (kInfeasible)"
    raised = recorded(solve_in, "highs", instance, limits={})
    assert "reason" not in raised.parameters
    assert raised.error.reason in raised.run.lifecycle_reason


def test_a_wrong_option_is_raised_whatever_shall_be_raised(open_instances):
    instance = load_instance(open_instances / "flugpl.mps").instance
    experiment = Experiment.with_temp_local_registry()
    with (
        pytest.raises(SolverOptionError, match="Did you mean 'presolve'"),
        experiment.run() as run,
    ):
        solve_in(run, "highs", instance, limits={}, options={"presolv": 1}, raise_on_failure=False)
    experiment.commit()
    assert experiment.runs[0].solves[0].status == "failed"
    assert experiment.run_parameters_df()["outcome"].tolist() == ["error"]


@pytest.mark.parametrize(
    ("adapter", "limits"), [("highs", {"seed": -1}), ("openjij", {"time_limit_seconds": 1.0})]
)
def test_a_limit_that_cannot_be_set_is_the_outcome_error(adapter, limits):
    experiment = Experiment.with_temp_local_registry()
    with pytest.raises(SolverOptionError), experiment.run() as run:
        solve_in(run, adapter, instance_of([X], X), limits=limits)
    experiment.commit()
    assert experiment.run_parameters_df()["outcome"].tolist() == ["error"]


def test_the_columns_keep_their_types_over_every_outcome(open_instances):
    experiment = Experiment.with_temp_local_registry()
    calls: list[tuple[str, Instance, dict[str, Any]]] = [
        ("highs", instance_of([X], X), {"time_limit_seconds": 2}),
        ("scip", fixed_to_zero(), {"time_limit_seconds": 0.5, "seed": 1}),
        ("highs", instance_of([X], X, sense=Sense.Maximize), {"mip_gap": 0}),
        ("highs", load_instance(open_instances / "QPLIB_3506.qplib").instance, {}),
    ]
    for adapter, instance, limits in calls:
        with experiment.run() as run:
            solve_in(run, adapter, instance, limits=limits, raise_on_failure=False)
    experiment.commit()
    types = {name: str(kind) for name, kind in experiment.run_parameters_df().dtypes.items()}
    assert types == {
        "instance": "string",
        "instance_digest": "string",
        "adapter": "string",
        "readers": "string",
        "reason": "string",
        "sense": "string",
        "outcome": "string",
        "optimality": "string",
        "objective": "Float64",
        "solve_seconds": "Float64",
        "time_limit_seconds": "Float64",
        "mip_gap": "Float64",
        "seed": "Int64",
        "feasible": "boolean",
        "dual_bound": "Float64",
        "gap": "Float64",
        "cpu_seconds": "Float64",
        "first_solution_seconds": "Float64",
        "primal_dual_integral": "Float64",
        "nodes": "Int64",
        "iterations": "Int64",
        "incumbents": "Int64",
        "solver_threads": "Int64",
        "solver_version": "string",
    }


class Panicking(OMMXHighsAdapter):
    """An adapter in whose decoding OMMX's Rust core panics."""

    broken: Path

    def decode(self, data: Any) -> Solution:
        Instance.load_qplib(str(self.broken))
        raise AssertionError


def test_a_panic_of_the_rust_core_is_an_ordinary_error(open_instances, tmp_path):
    Panicking.broken = tmp_path / "cut.qplib"
    whole = (open_instances / "QPLIB_3506.qplib").read_bytes()
    Panicking.broken.write_bytes(whole[:126])
    found = recorded(solve_in, Panicking, instance_of([X], X), limits={})
    check(found, "error")
    assert "panicked: index out of bounds" in str(found.error)


class Interrupted(OMMXHighsAdapter):
    def decode(self, data: Any) -> Solution:
        raise KeyboardInterrupt


def test_an_interruption_is_no_outcome():
    experiment = Experiment.with_temp_local_registry()
    with pytest.raises(KeyboardInterrupt), experiment.run() as run:
        solve_in(run, Interrupted, instance_of([X], X), limits={})
    experiment.commit()
    assert experiment.runs[0].status == experiment.runs[0].solves[0].status == "interrupted"
    assert "outcome" not in experiment.run_parameters_df().columns


class Third(SolverAdapter):
    """An adapter that the table of backends does not know."""

    INPUT_CLASS = OMMXHighsAdapter.INPUT_CLASS

    @classmethod
    def solve(cls, ommx_instance: Instance, *, value: float = 0.0, diagnostics: Any = None):
        return ommx_instance.evaluate({0: value})

    solve_without_preparation = solver_input = decode = None  # type: ignore[assignment]


def test_an_unknown_adapter_solves_by_its_own_solve():
    instance = instance_of([X], X, {0: X >= 2})
    check(recorded(solve_in, Third, instance, limits={}, options={"value": 3.0}), "feasible")
    # Its Solve is finished: the adapter did return a Solution, though none to believe.
    found = recorded(solve_in, Third, instance, limits={}, options={"value": 1.0})
    assert found.parameters["outcome"] == "no_solution"
    assert found.run.solves[0].status == "finished"
