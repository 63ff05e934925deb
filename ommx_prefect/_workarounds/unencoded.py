"""Tell a failure of OMMX's encoding from true infeasibility: it reports both as infeasible.

Seen in OMMX 3.0.0b7: a constraint whose slack has no bound is `InfeasibleDetected`, since its lower
bound, minus infinity, "is positive". Where the constraint cannot hold, that bound is a number.
"""

from __future__ import annotations

_NO_LOWER_BOUND = "is positive: Bound(-inf"


def is_unencoded(said: str) -> bool:
    """Tell by the text of an `InfeasibleDetected` whether nothing is proved by it."""
    return _NO_LOWER_BOUND in said
