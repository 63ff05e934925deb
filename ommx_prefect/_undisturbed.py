"""How recording is kept out of a task's time, and whole whatever interrupts its thread.

Prefect's timeout interrupts a sync task in the middle of anything, once: by an alarm, or by an
exception that it raises in the task's thread. So what must not be interrupted is done in another
thread, while the task's own waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable


class Undisturbed:
    """Does things to their end in the thread of a task with a timeout.

    Args:
        deadline: When the task's time is over, by `time.monotonic`.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._is_expired = False

    def do(self, work: Callable[[], None]) -> None:
        """Do something; the task's timeout comes too late meanwhile, and is dropped.

        Raises:
            BaseException: What else came meanwhile (SIGINT, SIGTERM, the timeout of a flow), once
                all is done.
        """
        ended: list[BaseException | None] = []
        # A bare lock: one that is built of others breaks where an exception comes between them.
        gate = threading.Lock()
        gate.acquire()
        context = contextvars.copy_context()
        arguments = (_do, work, ended, gate)
        threading.Thread(target=context.run, args=arguments, name="ommx-recording").start()
        interruption: BaseException | None = None
        while not ended:
            try:
                gate.acquire()
            except BaseException as error:
                if not self._is_timeout(error):
                    interruption = error
        problem = ended[0] if interruption is None else interruption
        if problem is not None:
            raise problem

    def _is_timeout(self, error: BaseException) -> bool:
        """Tell the task's own timeout, which comes once and not before its time is over."""
        is_cancelled = isinstance(error, asyncio.CancelledError) and not self._is_expired
        self._is_expired |= is_cancelled and time.monotonic() >= self._deadline
        return is_cancelled and self._is_expired


def _do(work: Callable[[], None], ended: list[BaseException | None], gate: threading.Lock) -> None:
    try:
        work()
    except BaseException as error:
        ended.append(error)
    else:
        ended.append(None)
    finally:
        gate.release()
