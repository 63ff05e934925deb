"""The instance that tests log and solve."""

from __future__ import annotations

import ommx


def knapsack() -> ommx.Instance:
    """Two of three items, worth 5 at best."""
    x = [ommx.DecisionVariable.binary(i) for i in range(3)]
    made = ommx.Instance.from_components(
        decision_variables=x,
        objective=3 * x[0] + 2 * x[1] + x[2],
        constraints={0: x[0] + x[1] + x[2] <= 2},
        sense=ommx.Sense.Maximize,
    )
    made.title = "knapsack"
    return made
