"""Run a solve in a thread of its own, while the task's thread waits and can stop it.

Timeouts and signals are exceptions that Python raises between two steps of Python code, in the
task's thread or the main one. A solver at work there takes none, and a task with two seconds ended
after its solver's twelve. A thread that only waits takes them at once, stops the solver, and waits
for it a little longer; a solver that goes on all the same ends with its own limit.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable

# How often the waiting thread looks: it can be asked to stop, and writes checkpoints.
LOOK_SECONDS = 0.1
# How long a solver that was told to stop is waited for.
STOP_SECONDS = 1.5


_running: set[CpuClock] = set()


class CpuClock:
    """The CPU time of one run of a solver.

    Attributes:
        thread_seconds: Of the thread it runs in.
        seconds: Of this process meanwhile; None where another solver ran in it, too.
    """

    def __init__(self) -> None:
        self.thread_seconds = 0.0
        self.seconds: float | None = None
        self._is_alone = True

    def __enter__(self) -> CpuClock:
        for other in list(_running):
            other._is_alone = self._is_alone = False
        _running.add(self)
        self._began = time.process_time(), time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread_seconds = time.thread_time() - self._began[1]
        self.seconds = time.process_time() - self._began[0] if self._is_alone else None
        _running.discard(self)

    def of(self, threads: int | None) -> float | None:
        """Return the CPU seconds of a solver with so many threads; None where nobody knows."""
        return self.thread_seconds if threads == 1 else self.seconds


def supervise(
    run: Callable[[], None],
    stop: Callable[[], None],
    look: Callable[[], None],
    *,
    stop_seconds: float = STOP_SECONDS,
) -> None:
    """Run a solver to its end; an exception that comes meanwhile stops it.

    Args:
        run: Runs the solver.
        stop: Tells it, from another thread, to stop.
        look: Is called while it runs, and may raise what ends the solve.
        stop_seconds: How long a solver that was told to stop is waited for.

    Raises:
        BaseException: What `run` or `look` raised, or what interrupted this thread.
    """
    done = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            run()
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), daemon=True, name="solver")
    thread.start()
    try:
        while not done.wait(LOOK_SECONDS):
            look()
    except BaseException:
        stop()
        done.wait(stop_seconds)
        raise
    thread.join()  # what its end frees, such as HiGHS's scheduler, is gone before the next solve
    if failed:
        raise failed[0]
