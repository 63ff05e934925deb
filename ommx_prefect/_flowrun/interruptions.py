"""Remember which flow runs of this process were interrupted while their tasks still run in threads.

Prefect interrupts the flow's thread alone, and then waits for the tasks that were submitted: they
do not learn of it. What a task can stop, such as a solver, looks here.
"""

from __future__ import annotations

# Of a process that is interrupted again and again, which forgets the oldest.
MOST_FLOW_RUNS = 1_000

_reasons: dict[str, str] = {}


def note_interruption(root_flow_run_id: str, error: BaseException) -> None:
    """Note that the body of a flow run was interrupted."""
    _reasons[root_flow_run_id] = f"the flow run was interrupted ({type(error).__name__})"
    while len(_reasons) > MOST_FLOW_RUNS:
        _reasons.pop(next(iter(_reasons)), None)


def forget_interruption(root_flow_run_id: str) -> None:
    """Begin anew: a flow run that was interrupted runs again."""
    _reasons.pop(root_flow_run_id, None)


def interruption_of(root_flow_run_id: str) -> str | None:
    """Return why a flow run is to end, or None where it goes on."""
    return _reasons.get(root_flow_run_id)
