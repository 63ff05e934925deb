"""Locks that are released in a forked child process.

A fork copies what other threads hold, and not the threads that would let go of it.
"""

from __future__ import annotations

import os
import threading

_locks: list[threading.Lock] = []


def process_lock() -> threading.Lock:
    """Return a lock for all of this process, to be made once, where a module is imported."""
    lock = threading.Lock()
    _locks.append(lock)
    return lock


def _renew() -> None:
    for lock in _locks:
        # As `threading` does with its own. It stays a plain lock: a task's timeout is raised
        # anywhere in Python code, and between two lines of a wrapper it would be held for ever.
        lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
