"""Find the start solution of a solve: a given one, or one of an earlier solve."""

from __future__ import annotations

from ommx import Solution

from ommx_prefect._solver.warm_start import PREVIOUS, WarmStart
from ommx_prefect.solvers._call import RecordedCall
from ommx_prefect.solvers._earlier import earlier_solution


def with_earlier(warm_start: WarmStart, call: RecordedCall) -> WarmStart:
    """Return the warm start with a solution; what an earlier attempt left comes first."""
    own = warm_start.start
    if not warm_start.resume and own != PREVIOUS:
        return warm_start
    earlier = _earlier(call, resume=warm_start.resume)
    if earlier is None and own == PREVIOUS:
        warm_start.leave_out(call, "no earlier solve of this instance has a solution")
        own = None
    return WarmStart(own if earlier is None else earlier, warm_start.is_required)


def _earlier(call: RecordedCall, *, resume: bool) -> Solution | None:
    try:
        return earlier_solution(call.name, call.adapter.__name__, resume=resume)
    except Exception as error:  # what is damaged there is no reason not to solve
        call.note(f"earlier solves cannot be read: {type(error).__name__}: {error}")
        return None
