"""Keep the timeout of a sync task from interrupting its recording, and from counting its time.

Prefect interrupts a sync task in the middle of anything, once: by an alarm in the main thread, or
by an exception that another thread raises in the task's. Its own `shield` puts both off.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from prefect._internal.concurrency.cancellation import shield

# What Prefect takes, and takes at most, to raise what the shield has put off.
MOMENT_SECONDS = 0.001
LATE_SECONDS = 0.25


class TimeoutShield:
    """Runs steps of the recording uninterrupted, in the thread of a task with a timeout.

    Args:
        deadline: When the task's time is over, by `time.monotonic`.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._is_expired = False

    def do(self, work: Callable[[], None]) -> None:
        """Run a step; a timeout of the task that comes meanwhile is dropped.

        Raises:
            CancelledError: The timeout of something else, such as the flow's; all is done.
        """
        is_done = False
        try:
            with shield():
                work()
                is_done = True
            self._await_late()
        except asyncio.CancelledError:
            if not self._is_timeout():
                raise
        if not is_done:  # it came before the shield was up
            work()

    def _await_late(self) -> None:
        """Wait for a delayed exception: it is to be raised here, and not somewhere in Prefect."""
        until = time.monotonic() + LATE_SECONDS
        moment = threading.Event()  # not `time.sleep`, which users' tests replace
        moment.wait(MOMENT_SECONDS)
        while not self._is_expired and self._deadline <= time.monotonic() < until:
            moment.wait(MOMENT_SECONDS)

    def _is_timeout(self) -> bool:
        """Tell whether an exception is the task's own timeout: the first one after its time."""
        if self._is_expired or time.monotonic() < self._deadline:
            return False
        self._is_expired = True
        return True
