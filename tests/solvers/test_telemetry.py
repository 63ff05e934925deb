"""What a solve says of itself is what the solver says, under one set of names."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd
import pytest
from ommx import DecisionVariable, OneHotConstraint, Sense
from ommx_highs_adapter import HighsDiagnosticsAnalyzer, OMMXHighsAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter, SCIPDiagnosticsAnalyzer

from ommx_prefect._solver import run_solve
from ommx_prefect._solver.integral import Row, primal_dual_integral
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers._solve import sample_in, solve_in
from tests.support.instance_files import are_here, instance_file
from tests.support.solving import (
    BITS,
    SOLVERS,
    X,
    eight_capacities,
    instance_of,
    penalised,
    recorded,
)

DECIDED = run_solve._decided
ONE_THREAD = {"threads": 1, "seed": 3}
TREES = ("flugpl.mps", *are_here("p0033.mps.gz"))
MEASURES = {
    "dual_bound",
    "gap",
    "nodes",
    "iterations",
    "incumbents",
    "first_solution_seconds",
    "primal_dual_integral",
    "solver_version",
    "solver_threads",
}


def solved(file: str, adapter: str, **options: Any) -> Any:
    instance = load_instance(instance_file(file)).instance
    return recorded(solve_in, adapter, instance, limits=ONE_THREAD, **options)


@pytest.mark.parametrize("file", TREES)
def test_highs_is_recorded_as_it_says_itself(file):
    found = solved(file, "highs").parameters
    model = OMMXHighsAdapter(load_instance(instance_file(file)).instance).solver_input
    model.setOptionValue("random_seed", 3)
    model.setOptionValue("threads", 1)
    improved: list[float] = []
    model.cbMipImprovingSolution.subscribe(lambda event: improved.append(event.data_out.mip_gap))
    model.resetGlobalScheduler(True)
    model.run()
    info = model.getInfo()
    assert found["dual_bound"] == pytest.approx(info.mip_dual_bound)
    assert found["gap"] == pytest.approx(info.mip_gap)
    assert found["nodes"] == info.mip_node_count
    assert found["iterations"] == info.simplex_iteration_count
    assert found["incumbents"] == len(improved)
    assert found["solver_version"] == model.version()
    assert 0 < found["first_solution_seconds"] <= found["primal_dual_integral"]
    assert found["primal_dual_integral"] <= found["solve_seconds"]


@pytest.mark.parametrize("file", TREES)
def test_scip_is_recorded_as_it_says_itself(file):
    found = solved(file, "scip")
    model = OMMXPySCIPOptAdapter(load_instance(instance_file(file)).instance).solver_input
    model.setParam("randomization/randomseedshift", 3)
    model.setParam("lp/threads", 1)
    model.optimize()
    told = found.parameters
    assert told["dual_bound"] == pytest.approx(model.getDualbound())
    assert told["gap"] == pytest.approx(model.getGap())
    assert told["nodes"] == model.getNTotalNodes()
    assert told["iterations"] == model.getNLPIterations()
    assert told["incumbents"] == model.getNBestSolsFound()
    assert told["solver_threads"] == 1
    assert 0 < told["first_solution_seconds"] <= told["solve_seconds"]
    # SCIP's own integral, in percent, over the same solve: it is in the diagnostics.
    (scip,) = [x for x in found.run.solves[0].diagnostics if "primal_dual_integral" in x]
    assert told["primal_dual_integral"] == pytest.approx(
        scip["primal_dual_integral"] / 100, rel=0.1, abs=0.02
    )


@pytest.mark.parametrize(("adapter", "tree"), [("highs", True), ("scip", True), ("python-mip", 0)])
def test_every_solver_uses_the_same_names(adapter, tree):
    found = solved("flugpl.mps", adapter).parameters
    known = MEASURES if tree else {"dual_bound", "gap", "solver_version", "solver_threads"}
    assert found.keys() & MEASURES == known
    assert found["dual_bound"] == pytest.approx(1201500, rel=1e-4)
    assert found["gap"] <= 1e-4
    # A linear program has no nodes, and no first solution on the way to its optimum.
    found = solved("afiro.mps", adapter).parameters
    assert not found.keys() & {"nodes", "first_solution_seconds", "primal_dual_integral"}
    assert found["dual_bound"] == pytest.approx(-464.753142857)
    assert found["gap"] == 0.0


def test_what_was_never_iterated_has_no_iterations():
    found = recorded(solve_in, "highs", instance_of([], 5), limits={}).parameters
    assert found["objective"] == found["dual_bound"] == 5
    assert "iterations" not in found


@pytest.mark.parametrize("adapter", SOLVERS)
def test_a_bound_is_one_of_the_objective_that_is_maximised(adapter):
    x = [DecisionVariable.binary(i) for i in range(8)]
    rows = {0: sum((3 + i) * v for i, v in enumerate(x)) <= 17}
    profit = 100 + sum((5 + 2 * i) * v for i, v in enumerate(x))
    knapsack = instance_of(x, profit, rows, Sense.Maximize)
    found = recorded(solve_in, adapter, knapsack, limits={}).parameters
    assert found["dual_bound"] == pytest.approx(found["objective"])
    assert found["gap"] == 0


@pytest.mark.parametrize("adapter", SOLVERS)
@pytest.mark.parametrize(
    "instance",
    [
        instance_of([X], X, sense=Sense.Maximize),
        instance_of(BITS, sum(BITS), {0: BITS[0] + BITS[1] == 3}),
    ],
    ids=["unbounded", "infeasible"],
)
def test_what_has_no_solution_has_no_gap_and_no_first_solution(adapter, instance):
    found = recorded(solve_in, adapter, instance, limits={}).parameters
    absent = {"dual_bound", "gap", "first_solution_seconds", "incumbents"}
    assert not found.keys() & absent
    assert "solver_version" in found


def test_what_is_asked_once_more_without_an_objective_is_in_no_telemetry(monkeypatch):
    told: list[tuple[dict[str, Any], bytes, int]] = []

    def decided(call: Any, driver: Any, model: Any) -> Any:
        measured = call.measured
        told.append((dict(measured.parameters), measured.log, len(measured.diagnostics)))
        return DECIDED(call, driver, model)

    monkeypatch.setattr(run_solve, "_decided", decided)
    free = DecisionVariable.continuous(1)
    made = instance_of([X, free], free - X, {0: free >= -1 * X})
    found = recorded(solve_in, "highs", made, limits={})
    ((parameters, log, diagnostics),) = told
    assert found.parameters["outcome"] == "unbounded"
    assert {name: found.parameters[name] for name in parameters} == parameters
    assert found.run.get_attachment("solver.log") == log
    assert len(found.run.solves[0].diagnostics) == diagnostics


@pytest.mark.server
@pytest.mark.parametrize("adapter", ["highs", "scip"])
def test_a_limit_leaves_the_bound_that_was_proved(adapter):
    instance = load_instance(instance_file("gen-ip054.mps")).instance
    found = recorded(solve_in, adapter, instance, limits={"time_limit_seconds": 1.0})
    told = found.parameters
    assert told["outcome"] == "feasible"
    assert told["dual_bound"] < 6840.97 <= told["objective"] + 1e-6
    assert told["gap"] > 1e-4
    rows = [Row(*row) for row in zip(*found.run.get_json("trajectory").values(), strict=True)]
    assert (rows[-1].primal, rows[-1].nodes) == (pytest.approx(told["objective"]), told["nodes"])
    assert rows == sorted(rows, key=lambda row: row.seconds)
    integral = primal_dual_integral(rows, rows[-1].seconds)
    assert told["primal_dual_integral"] == pytest.approx(integral)


def test_full_telemetry_is_read_back():
    found = recorded(solve_in, "highs", eight_capacities(), limits={"threads": 2})
    run = found.run
    assert run.attachment_names == ["solver.log", "trajectory"]
    log = run.get_attachment("solver.log").decode()
    assert "Solving MIP model" in log
    assert "Solving report" in log
    table = pd.DataFrame(run.get_json("trajectory"))
    assert list(table) == ["seconds", "primal", "dual", "nodes"]
    assert table["seconds"].is_monotonic_increasing
    assert table["primal"].dropna().is_monotonic_increasing
    assert found.parameters["solver_threads"] == 2
    analyzer = HighsDiagnosticsAnalyzer(run.solves[0].diagnostics)
    assert len(analyzer.progress_history_df) >= 2
    assert run.solves[0].adapter_options == {"threads": 2}
    found = recorded(solve_in, "scip", eight_capacities(), limits={"time_limit_seconds": 20})
    assert "SCIP Status" in found.run.get_attachment("solver.log").decode()
    assert len(SCIPDiagnosticsAnalyzer(found.run.solves[0].diagnostics).progress_history_df) > 2


@pytest.mark.server
@pytest.mark.parametrize("adapter", SOLVERS)
def test_less_telemetry_leaves_no_layers(adapter):
    found = recorded(solve_in, adapter, eight_capacities(), limits={}, telemetry="summary")
    assert found.run.attachment_names == []
    assert found.run.solves[0].diagnostics == []
    assert "dual_bound" in found.parameters
    found = recorded(solve_in, adapter, eight_capacities(), limits={}, telemetry=False)
    assert not found.parameters.keys() & MEASURES
    assert found.run.attachment_names == []


@pytest.mark.parametrize("wrong", [True, "everything", None])
def test_other_levels_of_telemetry_are_refused(wrong):
    with pytest.raises(ValueError, match="is none of 'full', 'summary' and False"):
        recorded(solve_in, "highs", eight_capacities(), limits={}, telemetry=wrong)


def test_a_log_that_the_user_wants_elsewhere_stays_there(tmp_path):
    path = tmp_path / "mine.log"
    found = recorded(
        solve_in, "highs", eight_capacities(), limits={}, options={"log_file": str(path)}
    )
    assert found.run.attachment_names == ["trajectory"]
    assert "Solving report" in path.read_text()


def test_a_bound_of_another_objective_is_not_recorded():
    hot = OneHotConstraint(variables=[0, 1, 2])
    objective = 3 * BITS[0] + 2 * BITS[1] + 5 * BITS[2]
    found = recorded(
        solve_in, "highs", instance_of(BITS, objective, one_hot_constraints={0: hot}), limits={}
    ).parameters
    assert found["dual_bound"] == found["objective"] == 2.0
    # A penalty method's active objective is not the one that is reported.
    found = recorded(solve_in, "scip", penalised(), limits={}, raise_on_failure=False).parameters
    assert not found.keys() & {"gap", "primal_dual_integral"}


def test_a_sampling_says_its_effort_and_its_share():
    instance = instance_of(BITS, BITS[0] - 2 * BITS[1] * BITS[2])
    options = {"num_reads": 6, "num_sweeps": 50, "seed": 1}
    found = recorded(sample_in, "openjij", instance, options=options)
    told = found.parameters
    assert (told["reads"], told["sweeps"]) == (6, 50)
    assert told["feasible_share"] == 1.0
    assert told["best_energy"] == min(found.value.objectives.values())
    none = recorded(sample_in, "openjij", penalised(), options={"seed": 1}, raise_on_failure=False)
    assert none.parameters["feasible_share"] == 0.0
    assert "sweeps" not in none.parameters


def test_a_solve_is_silent(capfd, caplog):
    with caplog.at_level(logging.WARNING):
        for adapter in ("highs", "scip"):
            recorded(solve_in, adapter, eight_capacities(), limits={"time_limit_seconds": 2})
    out, err = capfd.readouterr()
    assert err == ""
    assert "Solving report" not in out
    assert not caplog.records
