"""Why the package evaluates a tiny instance when it is imported: OMMX can deadlock otherwise.

On its first traced call OMMX 3.0.0b7 imports opentelemetry. Two threads that make their first
call together wait for each other, one of them with the GIL held, and the process hangs for ever:
two mapped solver tasks are enough. One call in one thread before that is the cure.
"""

from __future__ import annotations

import functools

from ommx import DecisionVariable, Instance, Sense


@functools.cache
def warm_up() -> None:
    """Make OMMX's first traced call, in the thread that imports the package."""
    x = DecisionVariable.binary(0)
    instance = Instance.from_components(
        decision_variables=[x], objective=x, constraints={}, sense=Sense.Minimize
    )
    instance.evaluate({0: 0.0})
