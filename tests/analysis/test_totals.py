"""Sums over solves, against numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from ommx_prefect.analysis import shifted_geometric_mean, totals, virtual_best
from ommx_prefect.analysis._totals import FILTER, FILTER_OF_BEST
from tests.analysis.tables import solve_table

NIGHT = solve_table(
    # instance, adapter, outcome, objective, seconds, limit
    ("a", "highs", "optimal", 10.0, 1.0, 100.0),
    ("a", "scip", "optimal", 10.0, 4.0, 100.0),
    ("b", "highs", "feasible", 22.0, 100.0, 100.0),
    ("b", "scip", "optimal", 20.0, 50.0, 100.0),
    ("c", "highs", "infeasible", None, 3.0, 100.0),
    ("c", "scip", "error", None, 0.5, 100.0),
    ("d", "highs", "feasible", 7.0, 100.0, 100.0),
    ("d", "scip", "feasible", 8.0, 100.0, 100.0),
)


def row(adapter: str, **options: float) -> pd.Series:
    found = totals(NIGHT, **options)
    return found[found["adapter"] == adapter].iloc[0]


def test_a_shifted_geometric_mean_of_two_times():
    # exp((ln 11 + ln 20) / 2) - 10 = sqrt(220) - 10
    assert shifted_geometric_mean(pd.Series([1.0, 10.0])) == pytest.approx(math.sqrt(220) - 10)
    assert math.isnan(shifted_geometric_mean(pd.Series([], dtype=float)))


def test_solves_without_a_proof_count_with_their_limit():
    # HiGHS: 1, limit 100, 3, limit 100; SCIP: 4, 50, limit 100 (though its error took 0.5), 100
    highs = (11.0 * 110.0 * 13.0 * 110.0) ** 0.25 - 10
    scip = (14.0 * 60.0 * 110.0 * 110.0) ** 0.25 - 10
    assert row("highs")["seconds_mean"] == pytest.approx(highs)
    assert row("scip")["seconds_mean"] == pytest.approx(scip)


def test_a_solver_of_which_no_time_is_known_has_no_mean_of_its_limits():
    plain = NIGHT.assign(seconds=None, limit=100.0).astype({"seconds": "Float64"})
    assert totals(plain)["seconds_mean"].isna().all()
    assert totals(plain)["par"].isna().all()
    killed = NIGHT.iloc[[2, 6]].assign(seconds=None).astype({"seconds": "Float64"})
    assert totals(killed)["seconds_mean"].tolist() == pytest.approx([100.0])


def test_penalised_runtimes_count_a_limit_tenfold():
    assert row("highs")["par"] == pytest.approx((1 + 1000 + 3 + 1000) / 4)
    assert row("scip", par=2)["par"] == pytest.approx((4 + 50 + 200 + 200) / 4)


def test_who_solved_and_who_was_best():
    assert [row("highs")[x] for x in ("runs", "solved", "share", "best")] == [4, 2, 0.5, 3]
    assert [row("scip")[x] for x in ("runs", "solved", "share", "best")] == [4, 2, 0.5, 1]


def best_of(**seconds: float | None) -> dict[str, int]:
    rows = [("i", solver, "infeasible", None, time, 9.0) for solver, time in seconds.items()]
    return totals(solve_table(*rows)).set_index("adapter")["best"].to_dict()


def test_of_two_proofs_without_an_objective_the_faster_is_best_and_equal_ones_are_a_tie():
    assert best_of(highs=1.0, scip=2.0) == {"highs": 1, "scip": 0}
    assert best_of(highs=1.0, scip=1.0) == {"highs": 1, "scip": 1}
    assert best_of(highs=1.0, scip=None) == {"highs": 1, "scip": 0}
    assert best_of(highs=None, scip=None) == {"highs": 1, "scip": 1}


def test_the_filter_and_the_shift_come_with_the_numbers():
    said = totals(NIGHT, shift=1, par=2).attrs
    assert said == {"filter": FILTER, "shift": 1, "par": 2, "solves": 8}
    assert virtual_best(NIGHT).attrs == {"filter": FILTER_OF_BEST, "solves": 8}


def test_the_virtual_best_takes_the_proof_then_the_objective_then_the_time():
    best = virtual_best(NIGHT)
    assert list(zip(best["instance"], best["adapter"], strict=True)) == [
        ("a", "highs"),
        ("b", "scip"),
        ("c", "highs"),
        ("d", "highs"),
    ]


def test_a_maximisation_is_best_where_it_is_largest():
    table = solve_table(
        ("m", "highs", "feasible", 7.0, 9.0, 9.0), ("m", "scip", "feasible", 8.0, 9.0, 9.0)
    ).assign(sense="maximize")
    assert virtual_best(table)["adapter"].tolist() == ["scip"]
    assert totals(table).set_index("adapter")["best"].to_dict() == {"highs": 0, "scip": 1}


def test_among_proofs_the_virtual_best_is_the_fastest_whatever_the_last_digits():
    table = solve_table(
        ("p", "highs", "optimal", 3089.0000000001, 1.0, 9.0),
        ("p", "scip", "optimal", 3089.0, 5.0, 9.0),
        ("q", "highs", "feasible", 7.0000000001, 1.0, 9.0),
        ("q", "scip", "feasible", 7.0, 5.0, 9.0),
        ("r", "highs", "feasible", 7.1, 1.0, 9.0),
        ("r", "scip", "feasible", 7.0, 5.0, 9.0),
    )
    table = table.assign(limit=None)
    assert virtual_best(table)["adapter"].tolist() == ["highs", "highs", "scip"]


def test_to_find_nothing_is_no_better_than_any_gap():
    table = solve_table(
        ("a", "finder", "feasible", 1.0, 9.0, 9.0),
        ("b", "finder", "feasible", 1.0, 9.0, 9.0),
        ("a", "idler", "feasible", 1.0, 9.0, 9.0),
        ("b", "idler", "no_solution", None, 9.0, 9.0),
        ("a", "prover", "optimal", 1.0, 9.0, 9.0),
        ("b", "prover", None, 1.0, 9.0, 9.0),
        ("a", "lost", None, None, 9.0, 9.0),
        ("b", "lost", "infeasible", None, 9.0, 9.0),
    ).assign(gap=[0.1, 0.5, 0.1, None, None, 0.4, None, None])
    means = totals(table).set_index("adapter")["gap_mean"].to_dict()
    assert means == pytest.approx({"finder": 0.3, "idler": 0.55, "prover": 0.2, "lost": 0.5})


def test_an_infinite_gap_which_no_solver_records_counts_1_and_is_not_left_out():
    table = solve_table(
        ("a", "scip", "feasible", -67.0, 9.0, 9.0),  # |-67 - 0| / min(67, 0), as SCIP defines it
        ("b", "scip", "optimal", 1.0, 1.0, 9.0),
        ("a", "cut", "feasible", 8.0, 9.0, 9.0),  # |8 - 6| / max(8, 6)
        ("b", "cut", "optimal", 1.0, 1.0, 9.0),
        ("a", "plain", "feasible", 8.0, 9.0, 9.0),  # it has told no bound: nobody knows its gap
        ("b", "plain", "optimal", 0.0, 1.0, 9.0),
    ).assign(dual_bound=[0.0, None, 6.0, None, None, None])
    means = totals(table).set_index("adapter")["gap_mean"].to_dict()
    assert means == pytest.approx({"scip": 0.5, "cut": 0.125, "plain": 0.0})
    both = pd.concat([table, table.assign(adapter="again")])  # whose labels are there twice
    assert totals(both).set_index("adapter")["gap_mean"].to_dict() == pytest.approx(
        means | {"again": (1.0 + 0.25) / 5}
    )


def test_who_proved_nothing_comes_last_however_fast_it_failed():
    table = solve_table(
        ("a", "failing", "error", None, 0.0),
        ("a", "fast", "optimal", 1.0, 1.0),
        ("a", "slow", "optimal", 1.0, 2.0),
    )
    assert totals(table)["adapter"].tolist() == ["fast", "slow", "failing"]


def test_the_mean_integral_is_that_of_the_solves_that_tell_one():
    table = solve_table(
        ("a", "highs", "optimal", 1.0, 1.0, 9.0),
        ("b", "highs", "feasible", 1.0, 9.0, 9.0),
        ("c", "highs", "optimal", 1.0, 1.0, 9.0),
    ).assign(primal_dual_integral=[0.5, 4.0, None])
    assert totals(table)["integral_mean"].tolist() == [pytest.approx((0.5 + 4.0) / 2)]
