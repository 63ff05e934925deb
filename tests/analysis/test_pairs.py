"""Which solves of two nights are paired: by content, by name, or not at all."""

from __future__ import annotations

from ommx_prefect.analysis import compare
from tests.analysis.tables import solve_table


def test_instances_are_paired_by_content_and_not_by_name():
    old = solve_table(("a", "highs", "optimal", 1.0, 1, 9)).assign(digest="d")
    new = solve_table(("renamed", "highs", "optimal", 1.0, 1, 9)).assign(digest="d")
    assert compare(old, new).table["verdict"].tolist() == ["same"]


def test_without_a_common_digest_instances_are_paired_by_name():
    row = ("a", "highs", "optimal", 1.0, 1, 9)
    plain, told, other = (solve_table(row).assign(digest=x) for x in (None, "d", "other"))
    assert compare(plain, told).table["verdict"].tolist() == ["same"]
    (changed,) = compare(told, other).table.to_dict("records")
    assert changed["verdict"] == "same"
    assert "another content" in changed["why"]


def test_two_contents_of_one_name_are_not_paired_by_it():
    row = ("a", "highs", "optimal", 1.0, 1, 9)
    old = solve_table(row, row).assign(digest=["d", "e"])
    new = solve_table(row, row).assign(digest=["e", "f"])
    found = compare(old, new).table
    assert sorted(found["verdict"]) == ["gone", "new", "same"]


def test_equal_content_under_two_names_is_two_instances():
    rows = [(name, "highs", "optimal", 1.0, 1, 9) for name in ("p", "q")]
    old = solve_table(*rows, digest="d")
    lost = old.assign(outcome=["optimal", "no_solution"], objective=[1.0, None])
    assert compare(old, lost).regressions == ["q highs: optimal, now no_solution"]
    assert compare(old, old).counts == {"same": 2}
    more = compare(old.head(1), old)
    assert more.table[["instance", "verdict"]].values.tolist() == [["p", "same"], ["q", "new"]]
    (_, gone) = compare(old, old.head(1).assign(instance="renamed")).table.to_dict("records")
    assert (gone["instance"], gone["verdict"]) == ("q", "gone")


def test_a_name_whose_content_moved_to_another_name_is_new():
    old = solve_table(("p", "highs", "optimal", 1.0, 1, 9), digest="d")
    new = solve_table(*[(x, "highs", "optimal", 1.0, 1, 9) for x in ("p", "q")])
    found = compare(old, new.assign(digest=["e", "d"])).table
    assert found[["instance", "verdict"]].values.tolist() == [["q", "same"], ["p", "new"]]
