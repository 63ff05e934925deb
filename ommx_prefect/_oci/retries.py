"""Retry operations on a registry: exponential backoff, a limited number of times.

Retry lives here and nowhere else. What is tried again is a whole operation (an upload begins
anew: the registry may have lost the session), and every operation may safely happen twice.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypedDict, TypeVar

import httpx

from ommx_prefect.exceptions import RegistryUnavailableError

T = TypeVar("T")


class RetryTable(TypedDict):
    """The keywords of `stamina.retry_context`, in seconds."""

    attempts: int
    timeout: float
    wait_initial: float
    wait_max: float
    wait_jitter: float


# Exponential backoff with jitter, bounded in attempts and in time: 0.5, 1, 2, 4, ... seconds.
RETRY: RetryTable = {
    "attempts": 6,
    "timeout": 60.0,
    "wait_initial": 0.5,
    "wait_max": 10.0,
    "wait_jitter": 1.0,
}
# Where what cannot be sent now waits and goes out later: nobody waits long for it.
BRIEF_RETRY: RetryTable = {
    "attempts": 3,
    "timeout": 10.0,
    "wait_initial": 0.2,
    "wait_max": 1.0,
    "wait_jitter": 0.2,
}
# The most that a registry's Retry-After is heeded.
MOST_RETRY_AFTER_SECONDS = 30.0


# What the last operation missed, in words: stamina tells the `repr` of its error alone.
_MISSED: ContextVar[str] = ContextVar("missed", default="")


class _Plainly(logging.Filter):
    """Log filter that replaces stamina's `retry_scheduled` by a sentence about the registry."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = vars(record)
        if str(told.get("stamina.caused_by", "")).startswith(RegistryUnavailableError.__name__):
            record.msg = "A registry did not answer; attempt %s follows in %s s. %s"
            record.args = (told["stamina.retry_num"] + 1, told["stamina.wait_for"], _MISSED.get())
        return True


logging.getLogger("stamina").addFilter(_Plainly())


def retrying(table: RetryTable, operation: Callable[[], T]) -> T:
    """Do an operation, and repeat it while the registry is unavailable.

    Raises:
        RegistryUnavailableError: Not within the attempts and seconds of the table.
    """
    import stamina  # a tenth of this package's import, and only who talks to a registry needs it

    for attempt in stamina.retry_context(on=_backoff, **table):
        with attempt:
            return operation()
    raise AssertionError("stamina ends with a return or the last error")


def _backoff(error: Exception) -> bool | float:
    if not isinstance(error, RegistryUnavailableError):
        return False
    _MISSED.set(f"{error.registry}/{error.repository}: {error.reason}")
    return True if error.retry_after_seconds is None else error.retry_after_seconds


def retry_after_of(response: httpx.Response) -> float | None:
    """Return the seconds that a registry asks to wait (`Retry-After`), or None."""
    # The header may also hold a date; then the usual backoff has to do.
    try:
        seconds = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else None
