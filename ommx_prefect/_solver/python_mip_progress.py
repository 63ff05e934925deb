"""Report CBC's progress, as its log has it, to a watch, in the terms of python-mip's model."""

from __future__ import annotations

import ctypes
import math
import os
from typing import Any

from ommx_prefect._solver.python_mip_log import read_log
from ommx_prefect._solver.watch import Watch, known

# Numbers of the log have six digits.
_ROUNDING = 1e-5


def printed(output: int, since: int) -> str:
    """Return what was printed into a file from some byte on."""
    ctypes.CDLL(None).fflush(None)
    size = os.fstat(output).st_size
    return os.pread(output, size - since, since).decode(errors="replace")


def tell_progress(model: Any, text: str, watch: Watch) -> None:
    """Tell a watch of each solution and bound in a log, and of what was counted at its end."""
    log = read_log(text)
    watch.counts = {x: log.counts[x] for x in ("nodes", "iterations") if x in log.counts}
    if not model.num_int:
        return
    best = _Best(model, watch)
    for row in log.rows:
        best.see(row.seconds, row.primal, row.dual, row.nodes)
    if not log.is_understood:
        return  # or it has not ended
    if model.num_solutions:
        if not best.is_known and log.counts["nodes"]:
            return  # nobody knows when in the tree it was found
        best.end(log.counts["seconds"], model.objective_value)
    watch.is_counted = model.threads == 0
    watch.counts["seconds"] = log.counts["seconds"]


class _Best:
    """What is known so far.

    Args:
        model: The model. CBC leaves the constant of its objective out.
        watch: It is told of what is new.
    """

    def __init__(self, model: Any, watch: Watch) -> None:
        self._watch = watch
        self._constant = float(model.objective_const)
        self._sign = -1.0 if model.sense == "MAX" else 1.0
        self._primal: float | None = None
        self._dual: float | None = None
        self._nodes = 0

    @property
    def is_known(self) -> bool:
        """Whether a solution was seen."""
        return self._primal is not None

    def see(
        self, seconds: float, primal: float | None, dual: float | None, nodes: int | None
    ) -> None:
        """See a row of the log."""
        primal, dual = self._whole(primal), self._whole(dual)
        is_new = primal is not None and self._is_better(primal)
        is_progress = nodes is not None or (dual is not None and dual != self._dual)
        self._primal = primal if is_new else self._primal
        self._dual = self._dual if dual is None else dual
        self._nodes = max(self._nodes, nodes or 0)
        if is_new or is_progress:
            self._tell(seconds, is_new=is_new)

    def end(self, seconds: float, objective: float) -> None:
        """Take the final objective, which may be of a solution that no row of the log has."""
        least = _ROUNDING * max(1.0, abs(objective))
        if self._primal is None or self._sign * (self._primal - objective) > least:
            self._primal = objective
            self._tell(seconds, is_new=True)

    def _whole(self, told: float | None) -> float | None:
        found = known(told)
        return None if found is None else found + self._constant

    def _is_better(self, primal: float) -> bool:
        return self._primal is None or self._sign * (self._primal - primal) > 0

    def _tell(self, seconds: float, *, is_new: bool) -> None:
        none = math.inf
        primal = none if self._primal is None else self._primal
        dual = none if self._dual is None else self._dual
        self._watch.progress(seconds, primal, dual, self._nodes, is_new=is_new)
