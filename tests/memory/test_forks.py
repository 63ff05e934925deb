"""A forked process finds free what another thread of its parent held."""

from __future__ import annotations

import os
import threading

import pytest

from ommx_prefect._memory.forks import process_lock

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def test_a_lock_that_another_thread_held_is_free_in_a_fork():
    lock, plain = process_lock(), threading.Lock()
    is_held, is_over = threading.Event(), threading.Event()

    def holds():
        with lock, plain:
            is_held.set()
            is_over.wait(60)

    thread = threading.Thread(target=holds)
    thread.start()
    is_held.wait(60)
    child = os.fork()
    if child == 0:
        found = (lock.acquire(timeout=5), plain.acquire(timeout=0.1))
        os._exit(0 if found == (True, False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert lock.locked()  # in the parent as ever
    is_over.set()
    thread.join()
    assert lock.acquire(timeout=5)
    lock.release()
