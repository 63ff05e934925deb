"""Callbacks that are told what a workaround has found, since higher layers cannot be imported.

A solver that warns while its model is built has no Run to tell it to. The recording of the task
that runs in this thread, and `ommx_prefect.solvers`, listen here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Listener: TypeAlias = Callable[[str], bool]
"""Takes a notice; False where it is not concerned."""

_listeners: list[Listener] = []
_collected: ContextVar[list[str] | None] = ContextVar("ommx_prefect_notices", default=None)
_logger = logging.getLogger("ommx_prefect")


def listen(listener: Listener) -> None:
    """Pass every notice of this process to a listener from now on."""
    if listener not in _listeners:
        _listeners.append(listener)


def tell(notice: str) -> None:
    """Pass a notice to the listeners, or to the log if no listener takes it."""
    if (collected := _collected.get()) is not None:
        collected.append(notice)
    heard = [listener(notice) for listener in _listeners]
    if not any(heard) and collected is None:
        _logger.warning(notice)


@contextmanager
def notices_collected() -> Iterator[list[str]]:
    """Collect the notices of this thread while the block runs."""
    found: list[str] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)
