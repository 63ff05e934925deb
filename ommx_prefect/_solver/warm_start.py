"""Give a solver its start solution, and report it if the solver refuses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ommx import Instance

from ommx_prefect._solver.call import SolverCall
from ommx_prefect._solver.driver import Driver
from ommx_prefect._solver.start import Start, UnfitStartError, require_start, start_of
from ommx_prefect.exceptions import SolverOptionError

PREVIOUS = "previous"


@dataclass(frozen=True)
class WarmStart:
    """The start solution of a solve.

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
        """Go on without the start, and record why; SolverOptionError where it is required."""
        if self.is_required:
            raise SolverOptionError(call.adapter.__name__, "start", f"{reason}.")
        call.measured.parameters["start_left_out"] = reason
        call.note(f"the start of {call.name} is left out: {reason}")


def _hand_over(found: Start, driver: Driver, adapter: Any) -> None:
    if not driver.start(adapter, found.values, found.objective):
        raise UnfitStartError("the solver refuses it")
