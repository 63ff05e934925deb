"""The table of solves of real experiments, made with plain `ommx`, read back after sealing."""

from __future__ import annotations

import contextlib

import pytest
from ommx import DecisionVariable, Instance
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter

from ommx_prefect import instance_digest
from ommx_prefect._solver.backends import backend_of
from ommx_prefect.analysis import compare, environment_of, gap_over_time, report_html, solves
from ommx_prefect.analysis._solves import COLUMNS, variant_of
from ommx_prefect.solvers._solve import solve_in


def knapsack(capacity: int, title: str = "") -> Instance:
    x = [DecisionVariable.binary(i) for i in range(3)]
    instance = Instance.from_components(
        decision_variables=x,
        objective=3 * x[0] + 4 * x[1] + 5 * x[2],
        constraints={0: (2 * x[0] + 3 * x[1] + 4 * x[2] <= capacity)},
        sense=Instance.MAXIMIZE,
    )
    if title:
        instance.title = title
    return instance


@pytest.fixture(scope="module")
def experiment():
    made = Experiment("localhost/tests/analysis:one")
    with made.run() as run:  # nothing but OMMX's own record
        run.log_solve(OMMXHighsAdapter, knapsack(5, "small"), verbose=False)
    with made.run() as run:  # what a recorded solve leaves
        run.log_solve(OMMXHighsAdapter, knapsack(6, "other"), verbose=False)
        for name, value in {
            "instance": "named",
            "outcome": "feasible",
            "objective": 8.0,
            "solve_seconds": 0.5,
            "time_limit_seconds": 10.0,
            "dual_bound": 9.0,
            "seed": 7,
            "nodes": 3,
        }.items():
            run.log_parameter(name, value)
    with made.run() as run:  # two solves in one Run: its parameters belong to neither
        run.log_solve(OMMXHighsAdapter, knapsack(2, "first"), verbose=False)
        run.log_solve(OMMXHighsAdapter, knapsack(9, "second"), verbose=False)
        run.log_parameter("objective", 99.0)
    with made.run() as run:  # a cached one
        for name, value in {
            "instance": "named",
            "adapter": "OMMXHighsAdapter",
            "outcome": "optimal",
            "objective": 8.0,
            "prefect.state": "Cached",
        }.items():
            run.log_parameter(name, value)
    with made.run() as run:  # no solve at all
        run.log_parameter("x", 1)
    made.commit()
    return Experiment.load("localhost/tests/analysis:one")


def test_there_is_a_row_for_each_solve_and_each_cached_one(experiment):
    table = solves(experiment)
    assert list(table.columns) == list(COLUMNS)
    assert table.dtypes.astype(str).to_dict() == COLUMNS
    assert list(zip(table["run"], table["solve"].fillna(-1), strict=True)) == [
        (0, 0),
        (1, 0),
        (2, 0),
        (2, 1),
        (3, -1),
    ]
    assert table["cached"].tolist() == [False, False, False, False, True]
    assert table["adapter"].tolist() == ["highs"] * 5


def test_a_plain_solve_is_read_from_its_record(experiment):
    row = solves(experiment).iloc[0]
    assert (row["instance"], row["outcome"], row["objective"]) == ("small", "optimal", 7.0)
    assert row["sense"] == "maximize"
    assert row["digest"] == instance_digest(knapsack(5))
    assert row[["seconds", "dual_bound", "gap", "seed"]].isna().all()


def test_what_a_recorded_solve_logged_is_believed(experiment):
    row = solves(experiment).iloc[1]
    assert row[["instance", "outcome", "objective"]].tolist() == ["named", "feasible", 8.0]
    assert row[["seconds", "limit", "dual_bound", "seed", "nodes"]].tolist() == [0.5, 10, 9, 7, 3]
    assert row["digest"] == instance_digest(knapsack(6))


def test_parameters_of_a_run_with_two_solves_belong_to_neither(experiment):
    table = solves(experiment)
    assert table["objective"].iloc[2:4].tolist() == [3.0, 12.0]
    assert table["instance"].iloc[2:4].tolist() == ["first", "second"]


def test_a_row_says_where_when_and_why():
    night = Experiment("localhost/tests/analysis:where")
    night.set_annotation("org.ommx-prefect.flow-run-id", "this")
    told = {
        "instance": "p",
        "adapter": "OMMXHighsAdapter",
        "sense": "minimize",
        "prefect.host": "worker-3",
        "prefect.started_at": "2026-11-30T02:00:00+00:00",
    }
    with contextlib.suppress(ValueError), night.run() as run:
        for name, value in told.items():
            run.log_parameter(name, value)
        raise ValueError("no license")
    night.commit()
    (row,) = solves(Experiment.load(night.image_name)).to_dict("records")
    assert (row["host"], row["flow_run"]) == ("worker-3", "this")
    assert row["started_at"] == told["prefect.started_at"]
    assert row["reason"] == "ValueError: no license"


def test_solves_of_nights_before_are_told_apart_and_left_out():
    made = Experiment("localhost/tests/analysis:accumulated")
    made.set_annotation("org.ommx-prefect.flow-run-id", "this")
    made.set_annotation("org.ommx-prefect.earlier-runs", "1")
    for flow_run in ("before", "this"):
        with made.run() as run:
            run.log_solve(OMMXHighsAdapter, knapsack(5, flow_run), verbose=False)
            run.log_parameter("prefect.flow_run_id", flow_run)
    made.commit()
    found = Experiment.load(made.image_name)
    assert solves(found)["instance"].tolist() == ["this"]
    every = solves(found, earlier=True)
    assert every["run"].tolist() == [0, 1]
    assert every["flow_run"].tolist() == every["instance"].tolist() == ["before", "this"]


def test_several_experiments_are_one_table(experiment):
    assert len(solves(experiment, experiment)) == 10
    assert solves().empty


def test_a_variant_is_what_is_no_limit():
    options = {"presolve": "off", "verbose": False, "time_limit": 3.0, "mip_gap": 0.5}
    assert variant_of(options) == "mip_gap=0.5, presolve=off"


@pytest.mark.parametrize(
    ("adapter", "limit", "seed"),
    [
        (OMMXHighsAdapter, "time_limit", "random_seed"),
        (OMMXPySCIPOptAdapter, "limits/time", "randomization/randomseedshift"),
    ],
)
def test_a_limit_and_a_seed_among_the_options_are_known(adapter, limit, seed):
    """Two seeds are two solves to compare, also where they were given as options."""
    made = Experiment()
    for number in (1, 2):
        options = {limit: 9.0, seed: number}
        with made.run() as run, run.open_solve(adapter, knapsack(5, "small")) as solve:
            for name, value in options.items():
                solve.log_adapter_option(name, value)
            backend = backend_of(adapter)
            assert backend is not None
            assert backend.driver is not None
            backend.driver.run(solve.solver_input)
            solve.decode(solve.solver_input)
        with made.run() as run:
            solve_in(run, adapter, knapsack(5, "small"), limits={}, options=options)
    made.commit()
    table = solves(Experiment.load(made.image_name))
    assert table["seed"].tolist() == [1, 1, 2, 2]
    assert table["limit"].tolist() == [9.0] * 4
    assert table["variant"].tolist() == [""] * 4
    ours = table.iloc[[1, 3]]
    assert compare(ours, ours).counts == {"same": 2}


@pytest.mark.parametrize(
    "read",
    [solves, report_html, environment_of, lambda night: gap_over_time(night, "afiro")],
)
def test_a_name_in_the_place_of_an_experiment_is_told_how_to_open_it(read):
    with pytest.raises(TypeError, match=r"^'ghcr.io/a/b:c' is no Experiment.*load_experiment"):
        read("ghcr.io/a/b:c")
