"""The primal-dual integral is the area under the gap: by hand, and by a second formula."""

from __future__ import annotations

import random

import pytest

from ommx_prefect._solver.integral import Row, clipped_gap, primal_dual_integral


@pytest.mark.parametrize(
    ("primal", "dual", "gap"),
    [
        (None, 3.0, 1.0),
        (3.0, None, 1.0),
        (10.0, 10.0, 0.0),
        (0.0, 0.0, 0.0),
        (10.0, 8.0, 0.2),
        (-8.0, -10.0, 0.2),  # maximisation: the bound is above
        (8.0, 10.0, 0.2),
        (1.0, -1.0, 1.0),
        (5.0, 0.0, 1.0),
    ],
)
def test_the_gap_is_relative_to_the_greater_bound_and_one_at_most(primal, dual, gap):
    assert clipped_gap(primal, dual) == pytest.approx(gap)


def test_the_integral_by_hand():
    # 1 until second 2; |10 - 5| / 10 until 4; |8 - 6| / 8 until 7; 0 from there to 9.
    rows = [Row(1.0, None, 5.0), Row(2.0, 10.0, 5.0), Row(4.0, 8.0, 6.0), Row(7.0, 8.0, 8.0)]
    assert primal_dual_integral(rows, 9.0) == pytest.approx(2 * 1 + 2 * 0.5 + 3 * 0.25 + 2 * 0)
    assert primal_dual_integral(rows, 6.0) == pytest.approx(2 * 1 + 2 * 0.5 + 2 * 0.25)
    assert primal_dual_integral([], 6.0) == 6.0


def test_the_integral_agrees_with_a_sum_over_small_steps():
    draw = random.Random(3)
    moments = sorted(draw.uniform(0, 10) for _ in range(30))
    primal, dual, rows = 100.0, 1.0, []
    for moment in moments:
        primal, dual = primal - draw.uniform(0, 2), dual + draw.uniform(0, 1)
        rows.append(Row(moment, primal, dual))

    def gap(second: float) -> float:
        last = [row for row in rows if row.seconds <= second]
        if not last:
            return 1.0
        return (last[-1].primal - last[-1].dual) / last[-1].primal

    steps = 20_000
    summed = sum(gap((k + 0.5) * 12 / steps) for k in range(steps)) * 12 / steps
    assert primal_dual_integral(rows, 12.0) == pytest.approx(summed, rel=1e-3)
