"""Claims that cannot all be true, and claims that can."""

from __future__ import annotations

import pandas as pd
import pytest

from ommx_prefect.analysis import contradictions, known_values, write_solu
from ommx_prefect.analysis._contradictions import FILTER
from tests.analysis.tables import solve_table


def kinds(*rows, known=None, **columns):
    found = contradictions(solve_table(*rows, **columns), known)
    return found["kind"].tolist()


OPTIMAL = ("p", "highs", "optimal", 10.0, 1.0, 9.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (("p", "scip", "optimal", 10.0, 1, 9), []),
        (("p", "scip", "optimal", 10.0009, 1, 9), []),  # within 1e-4 of the value
        (("p", "scip", "optimal", 10.1, 1, 9), ["optimum"]),
        (("p", "scip", "feasible", 9.0, 1, 9), ["optimum"]),
        (("p", "scip", "feasible", 11.0, 1, 9), []),
        (("p", "scip", "infeasible", None, 1, 9), ["infeasible"]),
        (("p", "scip", "unbounded", None, 1, 9), ["unbounded"]),
        (("p", "scip", "no_solution", None, 1, 9), []),
        (("p", "scip", "error", None, 1, 9), []),
        (("q", "scip", "infeasible", None, 1, 9), []),
    ],
)
def test_two_claims_contradict_each_other_where_both_cannot_be_true(other, expected):
    assert kinds(OPTIMAL, other) == expected


def test_the_worse_of_two_optimal_values_is_the_claim():
    table = solve_table(OPTIMAL, ("p", "scip", "optimal", 12.0, 1, 9))
    (row,) = contradictions(table).to_dict("records")
    assert row["claim_by"].endswith("run 1 scip")
    assert row["claim"] == "optimal 12"
    assert row["against_by"].endswith("run 0 highs")
    assert row["against"] == "optimal 10"


def test_a_maximisation_turns_everything_round():
    rows = (("p", "highs", "optimal", 10.0, 1, 9), ("p", "scip", "feasible", 11.0, 1, 9))
    assert kinds(*rows, sense="maximize") == ["optimum"]
    assert kinds(rows[0], ("p", "scip", "feasible", 9.0, 1, 9), sense="maximize") == []


def test_a_dual_bound_beyond_a_feasible_objective():
    table = solve_table(
        ("p", "highs", "feasible", 10.0, 9, 9), ("p", "scip", "no_solution", None, 9, 9)
    )
    assert contradictions(table.assign(dual_bound=[9.0, 11.0]))["kind"].tolist() == ["bound"]
    assert contradictions(table.assign(dual_bound=[9.0, 10.0])).empty


def test_a_bound_contradicts_that_there_is_none():
    table = solve_table(
        ("p", "a", "unbounded", None, 1, 9),
        ("p", "b", "no_solution", None, 9, 9),
        ("p", "c", "feasible", 5.0, 9, 9),
    ).assign(dual_bound=[None, 3.0, float("-inf")])
    (row,) = contradictions(table).to_dict("records")
    assert (row["kind"], row["claim"], row["against"]) == ("unbounded", "unbounded", "dual bound 3")
    assert contradictions(table.assign(dual_bound=[None, None, float("-inf")])).empty


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        (("p", "liar", "infeasible", None, 1, 9), "infeasible"),
        (("p", "liar", "optimal", 4.0, 1, 9), "optimum"),
        (("p", "liar", "optimal", 2.0, 1, 9), None),
        (("p", "liar", "unbounded", None, 1, 9), None),
    ],
)
def test_the_best_solution_of_a_solve_that_timed_out_is_a_solution(claim, kind):
    found = contradictions(solve_table(("p", "scip", None, 3.0, 9, 9), claim))
    assert found["kind"].tolist() == ([kind] if kind else [])
    assert found["against"].tolist() == (["interrupted 3"] if kind else [])


def test_unbounded_contradicts_no_solution_that_is_only_feasible():
    assert kinds(("p", "a", "feasible", 1.0, 1, 9), ("p", "b", "unbounded", None, 1, 9)) == []
    assert kinds(("p", "a", "infeasible", None, 1, 9), ("p", "b", "unbounded", None, 1, 9)) == [
        "unbounded"
    ]


def test_models_of_one_name_and_different_content_are_different_instances():
    table = solve_table(OPTIMAL, ("p", "scip", "optimal", 12.0, 1, 9))
    assert contradictions(table.assign(digest=["x", "y"])).empty


def test_one_content_is_one_instance_whatever_it_is_called():
    table = solve_table(OPTIMAL, ("renamed", "scip", "optimal", 12.0, 1, 9), digest="d")
    (row,) = contradictions(table).to_dict("records")
    assert (row["instance"], row["claim"], row["against"]) == (
        "renamed",
        "optimal 12",
        "optimal 10",
    )


BEFORE = ("p", "scip", "optimal", 10.0, 1, 9)


@pytest.mark.parametrize(
    ("outcome", "objective", "said"),
    [
        ("feasible", 9.0, "before run 0 scip: optimal 10, now run 0 highs: feasible 9"),
        ("infeasible", None, "now run 0 highs: infeasible, before run 0 scip: optimal 10"),
        ("optimal", 11.0, "now run 0 highs: optimal 11, before run 0 scip: optimal 10"),
        ("unbounded", None, "now run 0 highs: unbounded, before run 0 scip: optimal 10"),
    ],
)
def test_two_solvers_contradict_each_other_across_nights(outcome, objective, said):
    before = solve_table(BEFORE, experiment="before", digest="d")
    row = ("renamed", "highs", outcome, objective, 1, 9)
    night = solve_table(row, experiment="now", digest="d")
    (x,) = contradictions(night, earlier=[before]).itertuples()
    assert f"{x.claim_by}: {x.claim}, {x.against_by}: {x.against}" == said
    assert contradictions(night.assign(digest="other"), earlier=[before]).empty


def test_what_one_solver_says_of_two_nights_or_was_wrong_before_is_no_contradiction_of_tonight():
    before = solve_table(BEFORE, ("p", "highs", "infeasible", None, 1, 9), experiment="before")
    night = solve_table(("p", "scip", "optimal", 12.0, 1, 9), experiment="now")
    (row,) = contradictions(night, earlier=[before]).to_dict("records")
    assert (row["claim_by"], row["against_by"]) == ("before run 1 highs", "now run 0 scip")
    other_seed = contradictions(night.assign(seed=2), earlier=[before])
    assert other_seed["kind"].tolist() == ["optimum", "infeasible"]


def test_known_values_are_held_against_the_night_alone():
    known = pd.DataFrame({"instance": ["p"], "objective": [10.0]})
    before = solve_table(("p", "scip", "infeasible", None, 1, 9), digest="old")
    night = solve_table(("p", "scip", "optimal", 12.0, 1, 9), digest="new")
    (row,) = contradictions(night, known, earlier=[before]).to_dict("records")
    assert (row["claim"], row["against_by"]) == ("optimal 12", "known value")


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        ("optimal", 10.0, []),
        ("optimal", 9.0, ["optimum"]),
        ("optimal", 11.0, ["optimum"]),
        ("best", 12.0, []),
        ("best", 9.0, ["optimum"]),
        ("infeasible", None, ["infeasible"]),
        ("unbounded", None, ["unbounded"]),
        ("unknown", None, []),
    ],
)
def test_a_claim_contradicts_a_known_value_that_it_cannot_have(status, value, expected):
    known = pd.DataFrame({"instance": ["p"], "status": [status], "objective": [value]})
    assert kinds(OPTIMAL, known=known) == expected


@pytest.mark.parametrize(
    ("outcome", "bound", "status", "value", "expected"),
    [
        ("no_solution", 11.0, "optimal", 10.0, ["bound"]),
        ("no_solution", 11.0, "best", 10.0, ["bound"]),
        ("no_solution", 9.0, "optimal", 10.0, []),
        ("infeasible", None, "optimal", 10.0, ["infeasible"]),
        ("infeasible", None, "best", 10.0, ["infeasible"]),
        ("infeasible", None, "infeasible", None, []),
        ("unbounded", None, "optimal", 10.0, ["unbounded"]),
        ("unbounded", None, "infeasible", None, ["unbounded"]),
        ("unbounded", None, "unbounded", None, []),
    ],
)
def test_every_claim_is_held_against_what_is_known(outcome, bound, status, value, expected):
    known = pd.DataFrame({"instance": ["p"], "status": [status], "objective": [value]})
    table = solve_table(("p", "highs", outcome, None, 9, 9)).assign(dual_bound=bound)
    assert contradictions(table, known)["kind"].tolist() == expected


def test_values_within_either_tolerance_are_the_same():
    table = solve_table(OPTIMAL, ("p", "scip", "optimal", 10.1, 1, 9))
    assert contradictions(table, relative=0.02).empty
    assert contradictions(table, absolute=0.2).empty
    assert len(contradictions(table, absolute=0.05, relative=0.0)) == 1
    near = solve_table(OPTIMAL, ("p", "scip", "optimal", 10.0001, 1, 9))
    found = contradictions(near, absolute=0.0, relative=0.0)
    assert len(found) == 1
    assert found.attrs == {"filter": FILTER, "absolute": 0.0, "relative": 0.0, "solves": 2}


def test_what_was_compared_comes_with_the_contradictions():
    said = contradictions(solve_table(OPTIMAL), earlier=[solve_table(OPTIMAL, OPTIMAL)]).attrs
    assert said == {"filter": FILTER, "absolute": 1e-6, "relative": 1e-4, "solves": 3}


def test_the_optima_of_miplib_2017_come_with_ommx():
    known = known_values("miplib2017").set_index("instance")
    assert known.loc["air05"].tolist() == ["optimal", 26374.0]
    assert known.loc["stein45inf", "status"] == "infeasible"
    assert kinds(("air05", "mine", "optimal", 26300.0, 1, 9), known="miplib2017") == ["optimum"]


def test_solu_files_out_and_in(tmp_path):
    path = tmp_path / "night.solu"
    table = solve_table(
        OPTIMAL,
        ("i", "highs", "infeasible", None, 1, 9),
        ("u", "highs", "unbounded", None, 1, 9),
        ("f", "highs", "feasible", 3.5, 9, 9),
        ("f", "scip", "feasible", 2.5, 9, 9),
        ("n", "highs", "no_solution", None, 9, 9),
    )
    write_solu(table, path)
    assert path.read_text().splitlines() == [
        "=best= f 2.5",
        "=inf= i",
        "=unkn= n",
        "=opt= p 10",
        "=unbd= u",
    ]
    assert contradictions(table, known=path).empty
    assert kinds(("p", "mine", "optimal", 9.0, 1, 9), known=str(path)) == ["optimum"]


def test_a_name_with_blanks_is_found_in_a_solu_file(tmp_path):
    path = tmp_path / "night.solu"
    write_solu(solve_table(("größe  λ", "highs", "optimal", 10.0, 1, 9)), path)
    assert path.read_text(encoding="utf-8") == "=opt= größe_λ 10\n"
    assert kinds(("größe  λ", "mine", "optimal", 9.0, 1, 9), known=path) == ["optimum"]
    assert kinds(("größe_λ", "mine", "optimal", 9.0, 1, 9), known=path) == ["optimum"]
    assert kinds(("größe", "mine", "optimal", 9.0, 1, 9), known=path) == []


def test_what_solvers_contradict_each_other_about_is_not_known(tmp_path):
    path = tmp_path / "night.solu"
    write_solu(solve_table(OPTIMAL, ("p", "liar", "infeasible", None, 1, 9)), path)
    assert path.read_text() == "=unkn= p\n"


def test_a_solu_file_that_is_not_there_is_said_with_what_may_be_given(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.solu is no file; known are .*'miplib2017'"):
        known_values(tmp_path / "gone.solu")


@pytest.mark.parametrize("line", ["=opt= p", "=opt= p ten", "opt p 10", "=what= p 1"])
def test_a_line_that_is_none_of_a_solu_file_is_named(tmp_path, line):
    path = tmp_path / "bad.solu"
    path.write_text(f"=inf= fine\n{line}\n")
    with pytest.raises(ValueError, match=r"bad\.solu:2"):
        known_values(path)


def test_a_solu_file_has_the_best_optimum_and_a_line_for_each_content(tmp_path):
    path = tmp_path / "night.solu"
    table = solve_table(
        ("p", "highs", "optimal", 10.0005, 1, 9),
        ("p", "scip", "optimal", 10.0, 1, 9),
        ("two", "highs", "optimal", 1.0, 1, 9),
        ("two", "highs", "optimal", 2.0, 1, 9),
        (None, "highs", "optimal", 3.0, 1, 9),
    ).assign(digest=["sha256:" + x * 64 for x in "aabcd"])
    write_solu(table, path)
    assert path.read_text().splitlines() == [
        "=opt= dddddddddddd 3",
        "=opt= p 10",
        "=opt= two@bbbbbbbbbbbb 1",
        "=opt= two@cccccccccccc 2",
    ]
