"""What the flows of the tests of stages do."""

from __future__ import annotations

import ommx

from ommx_prefect import task


def knapsack() -> ommx.Instance:
    x = [ommx.DecisionVariable.binary(i) for i in range(3)]
    return ommx.Instance.from_components(
        decision_variables=x,
        objective=2 * x[0] + 3 * x[1] + x[2],
        constraints={0: x[0] + x[1] + x[2] <= 2},
        sense=ommx.Sense.Maximize,
    )


@task
def note(x):
    return {"x": x}
