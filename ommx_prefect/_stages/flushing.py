"""Write records to the disk so that they survive a power failure, several at a time.

A record is whole and in the system's hands once it is written: whatever kills its process, it is
there. Only a machine that loses power, or whose system dies, forgets what was not flushed. A flush
takes the disk 0.1 to 10 ms, so records wait for it at most `flush_seconds`, together; with 0 each
is flushed before its task ends.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading

from ommx_prefect._registry.files import flush, write_durable, write_whole

_waiting: dict[str, None] = {}
_arrived = threading.Condition()
_thread: threading.Thread | None = None


def write_record(path: str, data: bytes) -> None:
    """Write a record atomically, and flush it to the disk within the configured time."""
    if _window_seconds() <= 0:
        write_durable(path, data)
        return
    write_whole(path, data)
    _flush_soon(path)


def flush_all() -> None:
    """Flush at once all records that wait for it."""
    with _arrived:
        paths = list(_waiting)
        _waiting.clear()
    for path in paths:
        with contextlib.suppress(OSError):  # sealed and let go of meanwhile
            flush(path)


def _window_seconds() -> float:
    # The settings load Prefect, which whoever only reads a stage does not need.
    from ommx_prefect._settings import flush_seconds

    return flush_seconds()


def _flush_soon(path: str) -> None:
    global _thread
    with _arrived:
        if _thread is None:
            _thread = threading.Thread(target=_go_on, name="ommx-prefect-flush", daemon=True)
            _thread.start()
        if not _waiting:
            _arrived.notify()
        _waiting[path] = None


def _go_on() -> None:
    while True:
        with _arrived:
            _arrived.wait_for(lambda: bool(_waiting))
        threading.Event().wait(_window_seconds())  # a user's time.sleep may be another
        flush_all()


def _after_fork() -> None:
    """Forget, in a forked child, the records that wait: the parent flushes them."""
    global _arrived, _thread
    _arrived, _thread = threading.Condition(), None
    _waiting.clear()


atexit.register(flush_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
