"""What became better or worse: each verdict, and when time counts."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from ommx_prefect.analysis import compare, differences
from ommx_prefect.analysis._times import signed_rank_p
from tests.analysis.tables import solve_table

HERE = {"cpu": "x", "cores": 2, "os": "linux", "solvers": {"highspy": "1.16.0"}}


def verdict(before, after, **columns):
    old, new = (solve_table(("p", "highs", *x), **columns) for x in (before, after))
    (row,) = compare(old, new).table.to_dict("records")
    return row["verdict"], row["why"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (("optimal", 1.0, 1, 9), ("optimal", 1.0, 5, 9), "same"),
        (("optimal", 1.0, 1, 9), ("feasible", 1.0, 9, 9), "worse"),
        (("feasible", 1.0, 9, 9), ("optimal", 1.0, 9, 9), "better"),
        (("feasible", 1.0, 9, 9), ("feasible", 2.0, 9, 9), "worse"),
        (("feasible", 2.0, 9, 9), ("feasible", 1.0, 9, 9), "better"),
        (("feasible", 1.0, 9, 9), ("no_solution", None, 9, 9), "worse"),
        (("no_solution", None, 9, 9), ("error", None, 9, 9), "worse"),
        (("infeasible", None, 1, 9), ("optimal", 1.0, 1, 9), "worse"),
        (("optimal", 1.0, 1, 9), ("optimal", 1.00001, 1, 9), "same"),
        (("optimal", 1.0, 1, 9), (None, None, 1, 9), "worse"),
        (("feasible", 2.0, 9, 9), ("optimal", 1.0, 1, 9), "better"),
        # One of them is wrong.
        (("optimal", 2.0, 1, 9), ("optimal", 1.0, 1, 9), "worse"),
        (("feasible", 2.0, 9, 9), ("infeasible", None, 1, 9), "worse"),
        (("feasible", 2.0, 9, 9), ("optimal", 3.0, 1, 9), "worse"),
        (("no_solution", None, 9, 9), ("infeasible", None, 1, 9), "better"),
        (("feasible", 2.0, 9, 9), ("unbounded", None, 1, 9), "better"),
    ],
)
def test_outcome_and_objective_decide_what_is_better_or_worse(before, after, expected):
    assert verdict(before, after)[0] == expected


def test_why_is_said_with_both_values():
    said = verdict(("feasible", 1.0, 9, 9), ("feasible", 2.5, 9, 9))[1]
    assert said == "objective worse: 1, now 2.5"
    said = verdict(("feasible", 5.0, 9, 9), ("feasible", 2.5, 9, 9), sense="maximize")[1]
    assert said == "objective worse: 5, now 2.5"


def test_a_regression_names_variant_and_seed():
    old = solve_table(*[("p", "highs", "optimal", 1.0, 1, 9)] * 2, seed=3)
    old["variant"] = ["", "presolve=off"]
    new = old.assign(outcome=["optimal", "error"], objective=[0.5, None])
    assert sorted(compare(old, new.astype(old.dtypes.to_dict())).regressions) == [
        "p highs (presolve=off, seed 3): optimal, now error",
        "p highs (seed 3): optimum 1, now objective 0.5: one is wrong",
    ]


def test_what_is_new_and_what_is_gone():
    old = solve_table(("a", "highs", "optimal", 1.0, 1, 9))
    new = solve_table(("b", "highs", "optimal", 1.0, 1, 9))
    assert set(compare(old, new).table["verdict"]) == {"new", "gone"}
    assert compare(old, new).regressions == []


def test_an_objective_beyond_the_bound_of_another_night_is_no_improvement():
    old = solve_table(("p", "highs", "feasible", 9.0, 9, 9)).assign(dual_bound=8.0)
    assert compare(old, old.assign(objective=8.5)).regressions == []
    wrong = "p highs: dual bound 8, now objective 7: one is wrong"
    assert compare(old, old.assign(objective=7.0)).regressions == [wrong]
    turned = old.assign(sense="maximize", objective=7.0)  # a bound from above
    assert compare(turned, turned.assign(objective=9.0)).regressions == [
        "p highs: dual bound 8, now objective 9: one is wrong"
    ]


def test_instances_of_one_name_and_another_content_oppose_nobody():
    old = solve_table(("p", "highs", "optimal", 2.0, 1, 9), digest="sha256:" + "1" * 64)
    new = old.assign(objective=1.0, digest="sha256:" + "2" * 64)
    assert compare(old, new).counts == {"same": 1}


def test_a_worse_dual_bound_is_a_regression():
    old = solve_table(("p", "highs", "feasible", 9.0, 9, 9)).assign(dual_bound=5.0)
    assert compare(old, old.assign(dual_bound=4.0)).regressions == [
        "p highs: dual bound worse: 5, now 4"
    ]


def test_without_scipy_times_are_not_compared_and_the_rest_is(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = compare(night(1), night(1.5))
    assert found.regressions == []
    assert "SciPy is not installed" in found.not_comparable[0]
    assert "SciPy is not installed" in found._repr_html_()


def test_of_several_nights_the_median_time_and_the_best_outcome_count():
    nights = [solve_table(("a", "highs", "optimal", 1.0, s, 99)) for s in (1.0, 2.0, 50.0)]
    nights.append(solve_table(("a", "highs", "feasible", 3.0, 99.0, 99)))
    (row,) = compare(nights, nights[0]).table.to_dict("records")
    assert (row["outcome_before"], row["objective_before"]) == ("optimal", 1.0)
    assert row["seconds_before"] == pytest.approx((2.0 + 50.0) / 2)


def night(factor, count=20, noise=0.0):
    rng = np.random.default_rng(1)
    times = rng.uniform(20, 60, count)
    spread = 1 + noise * rng.standard_normal(count)
    rows = [
        (f"i{n}", "highs", "optimal", 1.0, t, 999) for n, t in enumerate(times * factor * spread)
    ]
    return solve_table(*rows)


@pytest.mark.server  # it takes seconds
def test_time_is_a_regression_where_it_is_significant_and_large():
    slower = compare(night(1), night(1.5))
    assert slower.times.to_dict("records")[0]["regression"]
    assert "times the time over 20 instances" in slower.regressions[0]
    assert compare(night(1), night(1.05)).regressions == []  # significant, and too small
    assert compare(night(1, count=5), night(1.5, count=5)).regressions == []  # too few
    assert compare(night(1), night(0.5)).regressions == []  # faster


def test_a_comparison_says_with_what_it_was_made():
    assert compare(night(1), night(1), time_threshold=1.5).options == {
        "time_threshold": 1.5,
        "significance": 0.05,
        "relative": 1e-4,
        "absolute": 1e-6,
        "shift": 10.0,
        "smallest_change": 0.01,
        "least_pairs": 10,
    }


def timed(old, new):
    """Compare two nights of so many seconds each."""
    rows = [
        [(f"i{n}", "highs", "optimal", 1.0, t, 9999) for n, t in enumerate(times)]
        for times in (old, new)
    ]
    (row,) = compare(*(solve_table(*x) for x in rows)).times.to_dict("records")
    return row


def test_ten_pairs_are_enough_and_nine_are_not():
    assert np.isnan(timed([30.0] * 9, [60.0] * 9)["p"])
    ten = timed([30.0] * 10, [60.0] * 10)
    assert ten["p"] == pytest.approx(2 / 2**10)  # of 2^10 signs, all up or all down
    assert ten["regression"]


def test_a_large_change_that_is_not_significant_is_no_regression():
    row = timed([20.0] * 12, [2000.0, 2000.0, *[20.5] * 4, *[19.5] * 6])
    assert row["ratio"] > 2
    assert row["p"] > 0.05
    assert not row["regression"]


def test_where_all_but_one_are_faster_it_is_no_regression_however_slow_that_one_is():
    row = timed([20.0] * 12, [2000.0, *[19.0] * 11])
    assert row["ratio"] > 1.3
    assert row["p"] < 0.05  # eleven of twelve are faster
    assert not row["regression"]


def test_changes_under_one_percent_do_not_count():
    old = [90.0] * 40
    just_under = [90.0 + 100 * 0.009] * 40  # of (x + 10)
    assert np.isnan(timed(old, just_under)["p"])
    # Thirty of forty are left out: ten are compared.
    assert timed(old, [*just_under[:30], *[200.0] * 10])["p"] == pytest.approx(2 / 2**10)


def test_a_longer_limit_alone_is_no_longer_time():
    def limited(limit, outcome="feasible"):
        return solve_table(*((f"i{n}", "highs", outcome, 1.0, limit, limit) for n in range(12)))

    found = compare(limited(60.0), limited(120.0))
    assert found.regressions == []
    assert found.times.empty
    assert found.table["time_ratio"].isna().all()
    assert compare(limited(60.0, "optimal"), limited(120.0, "optimal")).regressions  # it took long
    same = compare([limited(60.0), limited(120.0)], limited(120.0))  # of which night is the median?
    assert same.times.empty
    assert compare(limited(60.0), limited(60.0)).times["pairs"].tolist() == [12]


def test_what_changed_under_another_limit_says_so():
    old = solve_table(("p", "highs", "feasible", 1.0, 9, 9))
    new = solve_table(("p", "highs", "feasible", 2.0, 3, 3))
    assert compare(old, new).regressions == [
        "p highs: objective worse: 1, now 2 (limit 9 s, now 3 s)"
    ]
    unlimited = new.assign(limit=None).astype({"limit": "Float64"})
    assert compare(old, unlimited).regressions[0].endswith(" (limit 9 s, now none)")
    assert compare(old, new.assign(objective=1.0)).table["why"].tolist() == [""]


@pytest.mark.parametrize("column", ["variant", "seed", "adapter"])
def test_solves_are_paired_by_solver_variant_and_seed(column):
    values = {"variant": ["", "presolve=off"], "seed": [1, 2], "adapter": ["highs", "scip"]}[column]
    rows = [("p", "highs", outcome, 1.0, 1, 9) for outcome in ("optimal", "feasible")]
    old = solve_table(*rows).assign(**{column: values})
    swapped = old.assign(**{column: values[::-1]})
    assert compare(old, old).counts == {"same": 2}
    found = compare(old, swapped).table.set_index(column)["verdict"]
    assert found.to_dict() == {values[0]: "worse", values[1]: "better"}


def test_times_of_nights_on_different_machines_are_not_compared():
    other = {**HERE, "cpu": "y"}
    found = compare(night(1), night(1.5), environments=[HERE, other])
    assert found.regressions == []
    assert found.not_comparable == ("cpu differs: 'x', 'y'",)
    assert compare(night(1), night(1.5), environments=[HERE, HERE]).regressions
    assert differences([HERE, None]) == ("the environment of a night is not recorded",)


def test_times_of_a_crowded_night_are_not_compared_with_those_of_a_quiet_one():
    quiet, crowded = (night(x).assign(solves_at_once=n) for x, n in ((1, 1), (1.5, 4)))
    found = compare(quiet, crowded, environments=[HERE, HERE])
    assert found.regressions == []
    assert found.not_comparable == ("the number of solves that ran at once differs: 1, 4",)
    assert compare(quiet, night(1.5), environments=[HERE, HERE]).regressions  # not known


def test_the_signed_rank_test_agrees_with_counting_all_signs():
    values = np.array([0.3, -0.1, 0.5, 0.7, -0.2, 0.9, 1.1, 0.4, 0.6, 0.8])
    ranks = pd.Series(np.abs(values)).rank().to_numpy()
    observed = min(ranks[values > 0].sum(), ranks[values < 0].sum())
    sums = [sum(r for r, up in zip(ranks, signs, strict=True) if up)
            for signs in itertools.product((0, 1), repeat=len(ranks))]  # fmt: skip
    exact = min(1.0, 2 * np.mean(np.array(sums) <= observed))
    assert signed_rank_p(values) == pytest.approx(exact)


def test_a_notebook_shows_names_as_text():
    old = solve_table(("<b>x</b>", "highs", "optimal", 1.0, 1, 9))
    new = solve_table(("<b>x</b>", "highs", "feasible", 1.0, 9, 9))
    shown = compare(old, new)._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;x" in shown


def test_a_notebook_shows_no_more_than_fits():
    rows = [(f"i{n}", "highs", "optimal", 1.0, 1, 9) for n in range(300)]
    worse = [(*row[:2], "feasible", *row[3:]) for row in rows]
    shown = compare(solve_table(*rows), solve_table(*worse))._repr_html_()
    assert "300 worse" in shown
    assert shown.count("<tr") < 60


def test_of_several_nights_the_best_bound_counts():
    one = solve_table(("p", "highs", "feasible", 10.0, 9, 9)).assign(dual_bound=5.0)
    two = solve_table(("p", "highs", "feasible", 11.0, 9, 9)).assign(dual_bound=9.0)
    found = compare([one, two], one.assign(dual_bound=6.0))
    assert found.regressions == ["p highs: dual bound worse: 9, now 6"]
    turned = [night.assign(sense="maximize") for night in (one, two)]
    found = compare(turned, turned[0].assign(dual_bound=6.0))
    assert found.regressions[0].startswith("p highs: objective worse: 11, now 10")
    assert found.table["dual_bound_before"].tolist() == [5.0]


def test_of_another_content_outcomes_alone_are_compared():
    old = solve_table(("p", "highs", "optimal", 1.0, 1, 9), ("q", "highs", "optimal", 1.0, 1, 9))
    old = old.assign(digest=["d", "same"])
    new = old.assign(digest=["e", "same"], objective=[2.0, 1.0], seconds=[8.0, 1.0])
    found = compare(old, new)
    assert found.regressions == []
    changed = found.table.set_index("instance").loc["p"]
    assert (changed["verdict"], changed["why"]) == (
        *("same", "same (the instance of this name has another content)"),
    )
    assert np.isnan(changed["time_ratio"])
    assert found.times["pairs"].tolist() == [1]
    lost = compare(old, new.assign(outcome=["no_solution", "optimal"]))
    assert lost.counts == {"worse": 1, "same": 1}


def test_of_several_nights_those_of_the_same_content_count():
    row = solve_table(("p", "highs", "optimal", 1.0, 9, 9))
    before = [row.assign(digest="old", objective=0.0, seconds=1.0), row.assign(digest="new")]
    found = compare(before, row.assign(digest="new"))
    assert found.counts == {"same": 1}
    assert found.table[["why", "time_ratio"]].values.tolist() == [["", 1.0]]
