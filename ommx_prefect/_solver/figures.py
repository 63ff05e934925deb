"""Statistics of a finished solve, under the same names for every solver."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ommx_prefect._solver.watch import known


def relative_gap(primal: float, dual: float, size: float) -> float:
    """Return how far two bounds are apart, as a share of a size; 0 where they are the same."""
    if primal == dual:
        return 0.0
    return abs(primal - dual) / size if size else math.inf


@dataclass(frozen=True)
class Figures:
    """What was reached, and at what effort; None is what this solver does not know.

    Attributes:
        seconds: By the solver's own clock.
        primal: The objective of its best solution.
        dual: The bound it has proved for the objective.
        gap: Relative, as the solver itself defines it.
        nodes: Of branch and bound; a linear program has none.
        iterations: Of all its methods for linear programs together.
        incumbents: How many solutions were each better than the one before.
        version: Of the solver.
        threads: How many it used.
    """

    seconds: float | None = None
    primal: float | None = None
    dual: float | None = None
    gap: float | None = None
    nodes: int | None = None
    iterations: int | None = None
    incumbents: int | None = None
    version: str | None = None
    threads: int | None = None

    def parameters(self, *, is_same_objective: bool) -> dict[str, float | int | str]:
        """Return what is known of it as run parameters.

        Args:
            is_same_objective: Whether a bound of the solved model bounds the objective that is
                recorded, too.
        """
        found: dict[str, float | int | str | None] = {
            "nodes": self.nodes,
            "iterations": self.iterations,
            "incumbents": self.incumbents,
            "solver_version": self.version,
            "solver_threads": self.threads,
        }
        if is_same_objective and self.dual is not None:
            found["dual_bound"] = known(self.dual)
            if self.primal is not None and self.gap is not None:
                found["gap"] = known(self.gap)
        return {name: value for name, value in found.items() if value is not None}
