"""Profiles against values by hand and against a second formula."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ommx.experiment import Experiment

from ommx_prefect.analysis import data_profile, gap_over_time, performance_profile, report_html
from ommx_prefect.analysis._profiles import FILTER, FILTER_OF_GAPS
from ommx_prefect.solvers._solve import solve_in
from tests.analysis.tables import solve_table
from tests.support.nights import knapsack

NIGHT = solve_table(
    ("a", "highs", "optimal", 1.0, 1.0, 9.0),
    ("a", "scip", "optimal", 1.0, 2.0, 9.0),
    ("b", "highs", "optimal", 1.0, 4.0, 9.0),
    ("b", "scip", "infeasible", None, 1.0, 9.0),
    ("c", "highs", "feasible", 1.0, 9.0, 9.0),
    ("c", "scip", "optimal", 1.0, 8.0, 9.0),
    ("d", "highs", "no_solution", None, 9.0, 9.0),
    ("d", "scip", "error", None, 0.1, 9.0),
)


def test_a_performance_profile_by_hand():
    # Ratios: a 1 and 2, b 4 and 1, c never and 1, d never and never, of 4 instances.
    profile = performance_profile(NIGHT)
    assert profile.index.tolist() == [1.0, 2.0, 4.0]
    assert profile["highs"].tolist() == [0.25, 0.25, 0.5]
    assert profile["scip"].tolist() == [0.5, 0.75, 0.75]
    assert profile.attrs["instances"] == 4


def test_a_data_profile_by_hand():
    profile = data_profile(NIGHT)
    assert profile.index.tolist() == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert profile["highs"].tolist() == [0.0, 0.25, 0.25, 0.5, 0.5]
    assert profile["scip"].tolist() == [0.0, 0.25, 0.5, 0.5, 0.75]


def test_profiles_say_what_they_were_made_from():
    for profile in (performance_profile(NIGHT), data_profile(NIGHT)):
        assert profile.attrs == {"filter": FILTER, "instances": 4}


def test_a_solver_that_tells_no_time_is_in_no_profile():
    untold = NIGHT.assign(seconds=NIGHT["seconds"].mask(NIGHT["adapter"] == "scip"))
    assert list(performance_profile(untold)) == ["highs"]
    assert list(data_profile(untold)) == ["highs"]
    unsolved = NIGHT.assign(outcome=NIGHT["outcome"].mask(NIGHT["adapter"] == "scip", "feasible"))
    assert performance_profile(unsolved)["scip"].tolist() == [0.0]


def test_a_time_of_zero_is_the_best_and_others_are_behind():
    table = solve_table(("a", "x", "optimal", 1, 0.0, 9), ("a", "y", "optimal", 1, 1.0, 9))
    profile = performance_profile(table)
    assert profile.loc[1.0].to_dict() == {"x": 1.0, "y": 0.0}


@pytest.mark.server  # it takes seconds
@given(
    st.lists(
        st.tuples(*[st.one_of(st.none(), st.floats(0.01, 1e4)) for _ in range(3)]),
        min_size=1,
        max_size=12,
    )
)
def test_profiles_agree_with_the_definitions(times):
    rows = [
        (f"i{number}", solver, "optimal" if time else "no_solution", None, time or 1e4, 1e4)
        for number, each in enumerate(times)
        for solver, time in zip("xyz", each, strict=True)
    ]
    profile = performance_profile(solve_table(*rows))
    for position, solver in enumerate("xyz"):
        for tau in profile.index:
            solved = 0
            for each in times:
                best = min((t for t in each if t), default=np.inf)
                own = each[position]
                solved += own is not None and own / best <= tau
            assert profile[solver][tau] == pytest.approx(solved / len(times))
    within = data_profile(solve_table(*rows))
    for position, solver in enumerate("xyz"):
        for seconds in within.index:
            solved = sum(1 for each in times if each[position] and each[position] <= seconds)
            assert within[solver][seconds] == pytest.approx(solved / len(times))


def test_of_nodes_the_best_may_be_none():
    table = solve_table(("a", "x", "optimal", 1, 1, 9), ("a", "y", "optimal", 1, 1, 9))
    profile = performance_profile(table.assign(nodes=[0, 3]), "nodes")
    assert profile.index.tolist() == [1.0, 4.0]
    assert profile["y"].tolist() == [0.0, 1.0]


@pytest.mark.server
@pytest.mark.parametrize(
    "kept",
    [
        [[0, 1], [1, 2]],
        {"seconds": [1], "primal": [2]},
        {"seconds": [1], "primal": [2], "dual": [3, 4], "nodes": [5]},
        {"seconds": ["a"], "primal": ["b"], "dual": ["c"], "nodes": ["d"]},
        "text",
        b"\xff\xfe{",
        b"[" * 200_000,
        b"[" + b"9" * 5_000 + b"]",
    ],
    ids=range(8),
)
def test_a_trajectory_of_a_users_own_is_none_of_a_solve(kept):
    night = Experiment(f"nights.local/trajectories:n{hash(str(kept)) % 10**9}")
    with night.run() as run:
        solve_in(run, "highs", knapsack(5, "small"), limits={}, telemetry="summary")
        data = kept if isinstance(kept, bytes) else json.dumps(kept).encode()
        run.log_attachment("trajectory", "application/json", data)
    with night.run() as run:
        run.log_parameter("instance", "small")
        run.log_attachment("trajectory", "text/plain", b"0 1 2")
    night.commit()
    found = Experiment.load(night.image_name)
    assert gap_over_time(found, "small").empty
    assert "<html" in report_html(found)


def test_the_gap_over_time_by_hand():
    told = {
        "seconds": [0.5, 1.0, 2.0, 3.0, 4.0],
        "primal": [None, 10.0, 8.0, -1.0, 0.0],
        "dual": [4.0, 5.0, 6.0, 1.0, 0.0],
        "nodes": [0, 0, 3, 7, 9],
    }
    night = Experiment("nights.local/trajectories:by-hand")
    for name in ("small", "other"):
        with night.run() as run:
            run.log_parameter("instance", name)
            run.log_parameter("adapter", "OMMXHighsAdapter")
            run.log_json("trajectory", told)
    night.commit()
    found = gap_over_time(Experiment.load(night.image_name), "small")
    assert found["gap"].tolist() == pytest.approx([1.0, 5 / 10, 2 / 8, 1.0, 0.0])
    assert found["run"].tolist() == [0] * 5
    assert found[["seconds", "nodes"]].values.tolist()[2] == [2.0, 3.0]
    assert found.attrs == {"filter": FILTER_OF_GAPS, "instance": "small", "solves": 1}
