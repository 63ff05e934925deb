"""What Prefect does, as a table: functions that take `task` and `flow`, and say what they saw.

Each is run with Prefect's own decorators and with ours. What they say must be the same, so it holds
no ids, times or names of functions that differ from run to run.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

# Each adds its behaviours to the tables.
from tests.support.behaviours import ends, outside, surroundings
from tests.support.behaviours.table import IN_FLOW, OUTSIDE

__all__ = ["IN_FLOW", "OUTSIDE", "all_told", "ends", "outside", "surroundings"]


def all_told(p: SimpleNamespace) -> dict[str, Any]:
    """Run every behaviour with one pair of decorators."""
    found: dict[str, Any] = {}

    def see(table: dict[str, Callable[[Any], Any]]) -> None:
        for name, behaviour in table.items():
            try:
                found[name] = behaviour(p)
            except Exception as error:  # that of one is no reason to lose the others
                found[name] = error

    @p.flow(name="behaviours")
    def in_one_flow():
        see(IN_FLOW)

    in_one_flow()
    see(OUTSIDE)
    return found
