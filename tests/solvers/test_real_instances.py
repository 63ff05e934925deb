"""What is recorded of real instances is what the solvers say, and every solve of them replays.

All that are here, with the large ones, by hand: `python -m tests.support.real_solves`.
"""

from __future__ import annotations

import pytest

from tests.support.real_solves import SOLVERS, check

SMALL = (
    "afiro.mps",
    "flugpl.mps",
    "gen-ip054.mps",
    "good-mps-free-var.mps",
    "klein1.mps",
    "shifted40.mps.gz",
)


@pytest.mark.server  # it takes long
def test_the_record_is_what_the_solver_says_and_a_replay_agrees():
    assert list(check("localhost/tests/real:small", list(SMALL), list(SOLVERS))) == []
