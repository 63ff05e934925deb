"""One call of a solver or sampler: its input, its result, and the recording it belongs to.

A process that solves for another one knows neither Prefect nor a recording: so this is the part of
a call that needs none. Whoever has a recording derives from it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from ommx import Instance, Solution
from ommx.adapter import SolverAdapter
from ommx.experiment import Run

from ommx_prefect._solver.outcome import Parameters
from ommx_prefect._solver.telemetry import Measured
from ommx_prefect.exceptions import SolveOutcomeError


class SolvesAtOnce(Protocol):
    """Counts the solves that run beside one."""

    most: int

    def look(self) -> None:
        """Count those that run now."""


@dataclass
class SolverCall:
    """One call of a solver or sampler in a Run, with what the Run's parameters will say of it.

    Attributes:
        run: The open Run.
        adapter: The adapter of the solver.
        instance: What is solved.
        seconds: How long the solver was at work.
        found: Run parameters that tell what came of it.
        measured: What was measured of it.
    """

    run: Run
    adapter: type[SolverAdapter]
    instance: Instance
    seconds: float = 0.0
    found: Parameters = field(default_factory=dict)
    measured: Measured = field(default_factory=Measured)

    @property
    def name(self) -> str:
        """What the instance is called."""
        return self.instance.title or "the instance"

    def error(self, kind: type[SolveOutcomeError], reason: str) -> SolveOutcomeError:
        """Return an error that names this adapter and instance."""
        return kind(self.adapter.__name__, self.name, reason)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the seconds of the solver's call."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def note(self, notice: str) -> None:
        """Record a notice of something that could not be done."""

    def keep_incumbent(self, solution: Solution, found: Mapping[str, Any]) -> None:
        """Store the best solution so far durably, while the solver runs.

        Args:
            solution: The solution.
            found: Run parameters that tell of it.
        """

    def require_wanted(self) -> None:
        """Raise an exception if the flow run was interrupted, or another solver has won."""

    def seconds_left(self) -> float | None:
        """Return how long it may go on; None where nothing bounds it."""
        return None

    def counted(self) -> AbstractContextManager[SolvesAtOnce | None]:
        """Return a context that counts this solve among those at once, or does nothing."""
        return contextlib.nullcontext()
