"""Give a solver its start solution, and say so where it does not take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ommx import Instance, Solution

from ommx_prefect._recording.current import note_here
from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.solvers._call import SolverCall
from ommx_prefect.solvers._driver import Driver
from ommx_prefect.solvers._earlier import PREVIOUS, earlier_solution
from ommx_prefect.solvers._start import Start, UnfitStartError, require_start, start_of


@dataclass(frozen=True)
class WarmStart:
    """What a solve is to start from.

    Args:
        start: A solution to start from; None for none.
        is_required: Whether a start that is not taken is an error.
        resume: Whether to start from what an attempt before has left, where there is one.

    Raises:
        TypeError: The start is none of the kinds that are taken.
    """

    start: object = None
    is_required: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if self.start is not None and self.start != PREVIOUS:
            require_start(self.start)

    def found(self, call: SolverCall) -> WarmStart:
        """Return the warm start with a solution; what an earlier attempt left comes first."""
        if not self.resume and self.start != PREVIOUS:
            return self
        own, adapter = self.start, call.adapter.__name__
        earlier = self._earlier(call, adapter)
        if earlier is None and own == PREVIOUS:
            self.leave_out(call, "no earlier solve of this instance has a solution")
            own = None
        return WarmStart(own if earlier is None else earlier, self.is_required)

    def _earlier(self, call: SolverCall, adapter: str) -> Solution | None:
        try:
            return earlier_solution(call.name, adapter, resume=self.resume)
        except Exception as error:  # what is damaged there is no reason not to solve
            note_here(f"earlier solves cannot be read: {type(error).__name__}: {error}")
            return None

    def give(
        self, call: SolverCall, driver: Driver, adapter: Any, prepared: Instance, *, keep: bool
    ) -> None:
        """Give the solver its start, and note it; or note why not.

        Args:
            call: The call of the solver.
            driver: Talks to it.
            adapter: The adapter with its model.
            prepared: The instance as the adapter has it.
            keep: Whether the start is to be attached.

        Raises:
            SolverOptionError: It is not taken, and is required.
        """
        if self.start is None:
            return
        try:
            found = start_of(self.start, prepared)
            _hand_over(found, driver, adapter)
        except UnfitStartError as error:
            self.leave_out(call, str(error))
        else:
            told = {"start": found.whose, "start_objective": found.objective}
            call.measured.parameters.update(told)
            call.measured.start = found.solution if keep else None

    def leave_out(self, call: SolverCall, reason: str) -> None:
        """Go on without the start, and say so; SolverOptionError where it is required."""
        if self.is_required:
            raise SolverOptionError(call.adapter.__name__, "start", f"{reason}.")
        call.measured.parameters["start_left_out"] = reason
        note_here(f"the start of {call.name} is left out: {reason}")


def _hand_over(found: Start, driver: Driver, adapter: Any) -> None:
    if not driver.start(adapter, found.values, found.objective):
        raise UnfitStartError("the solver refuses it")
