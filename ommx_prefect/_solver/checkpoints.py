"""Store the best solution so far durably while the solver goes on.

It is written in the task's thread, which only waits: the solver's own callbacks leave the values
and go on. What is written stands for the Run only where the attempt leaves no record of its own.
"""

from __future__ import annotations

import math
import time

from ommx import Instance, Optimality, Solution

from ommx_prefect._solver.call import SolverCall
from ommx_prefect._solver.driver import Driver
from ommx_prefect._solver.watch import Incumbent, Watch


class IncumbentCheckpoints:
    """The checkpoints of one solve.

    Args:
        call: Whose they are.
        driver: Who knows the solver.
        prepared: The instance that the solver was given.
        seconds: The least time between two; None for none at all.
    """

    def __init__(
        self, call: SolverCall, driver: Driver, prepared: Instance, seconds: float | None
    ) -> None:
        self._call = call
        self._driver = driver
        self._prepared = prepared
        self._seconds = seconds
        self._due = 0.0
        self._written: tuple[Incumbent, float | None] | None = None

    def look(self, watch: Watch) -> None:
        """Write a new best solution if the interval has passed; a failure ends no solve."""
        newest, now = watch.newest, time.monotonic()
        if self._seconds is None or newest is None or now < self._due:
            return
        dual = _newest_dual(watch, newest)
        if (newest, dual) == self._written:
            return
        self._due = now + self._seconds
        self._written = (newest, dual)
        try:
            solution, found = best_so_far(watch, newest, self._driver, self._prepared)
            if solution.feasible:
                self._call.keep_incumbent(solution, found)
        except Exception as error:
            self._call.note(f"a checkpoint of the solve failed: {type(error).__name__}: {error}")


def best_so_far(
    watch: Watch, newest: Incumbent, driver: Driver, prepared: Instance
) -> tuple[Solution, dict[str, float]]:
    """Return the best solution that a solver has told of, and run parameters that tell of it.

    A bound of the solved model is among them only where it bounds the recorded objective, too.
    """
    solution = prepared.evaluate(dict(zip(newest.ids, newest.values, strict=True)))
    found = {"objective": float(solution.objective)}
    dual = _newest_dual(watch, newest)
    if dual is not None and bounds_objective(prepared):
        found["dual_bound"] = dual
        gap = driver.gap_between(found["objective"], dual)
        found |= {"gap": gap} if math.isfinite(gap) else {}
    return solution, found


def bounds_objective(prepared: Instance) -> bool:
    """Return whether a bound of the solved model bounds the recorded objective, too."""
    return bool(prepared.map_active_optimality(Optimality.Optimal) == Optimality.Optimal)


def _newest_dual(watch: Watch, newest: Incumbent) -> float | None:
    rows = watch.rows
    return rows[-1].dual if rows else newest.dual
