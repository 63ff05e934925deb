"""What a condition holds for: `objective<8`, `outcome~tim`."""

from __future__ import annotations

import pytest

from ommx_prefect._catalogue.search import Condition

PARAMETERS = {"outcome": "optimal", "objective": 7.0, "seed": 3, "ok": True}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("outcome=optimal", True),
        ("outcome=Optimal", True),
        ("outcome!=optimal", False),
        ("objective=7", True),
        ("objective>=7.5", False),
        ("objective<8", True),
        ("seed>2", True),
        ("outcome~tim", True),
        ("ok=true", True),
        ("outcome>2", False),  # a word is neither above nor below a number
        ("seed<many", False),
        ("outcome>feasible", True),
        ("missing=1", False),
        ("missing!=1", False),
    ],
)
def test_a_condition_compares_numbers_as_numbers_and_all_else_as_text(text, holds):
    assert Condition.parse(text).holds(PARAMETERS) is holds


def test_a_name_that_begins_like_a_sign_can_be_looked_for():
    for name in ("<b>knap", ">", "<5 items"):
        assert Condition.parse(f"instance={name}").holds({"instance": name})
    assert Condition.parse("instance~=cmd()").holds({"instance": "=cmd()"})
