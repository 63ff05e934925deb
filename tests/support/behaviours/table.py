"""The two tables of behaviours, and how a state is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Told in the body of one flow run, which is made once with each pair of decorators.
IN_FLOW: dict[str, Callable[[Any], Any]] = {}
# Told outside of flows.
OUTSIDE: dict[str, Callable[[Any], Any]] = {}


def told(table: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def add(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
        table[fn.__name__] = fn
        return fn

    return add


def state_of(state: Any) -> tuple[str, str, str | None]:
    message = state.message and state.message.partition("took")[0]
    return state.type.value, state.name, message
