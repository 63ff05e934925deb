"""Facts of a process that an attempt carries: host, pid, when it started, and an ordered clock."""

from __future__ import annotations

import functools
import math
import os
import socket
import sys
import time
from typing import Literal, Protocol

import psutil

from ommx_prefect._memory.forks import process_lock

Whereabouts = Literal["alive", "gone", "elsewhere"]


class Process(Protocol):
    """The facts that identify a process; attempts carry them too."""

    @property
    def host(self) -> str:
        """Name of the machine."""

    @property
    def pid(self) -> int:
        """Process id on it."""

    @property
    def process_start(self) -> str:
        """When the process started, by `process_start`; empty where the system does not say."""


_latest = 0.0
_clock = process_lock()


def time_in_order() -> float:
    """Return the time; it never goes back within a process, even if its clock was set back.

    Runs are ordered by it, and attempts of one task run must not change places.
    """
    global _latest
    with _clock:
        _latest = max(time.time(), math.nextafter(_latest, math.inf))
        return _latest


def new_nonce() -> str:
    """Return a random text that distinguishes two executions of the same attempt."""
    return os.urandom(6).hex()


def process_start(pid: int) -> str:
    """Return when a process started; empty where there is none, or the system does not say.

    On Linux in clock ticks since the boot, elsewhere in seconds since the epoch: what a change of
    the clock leaves as it is. A container that starts again has the same host name and the same
    process ids. A zombie (it is dead, and nobody has asked how it ended) has no start any more.
    """
    try:
        boot_time = psutil.boot_time() if sys.platform == "linux" else 0.0
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        seconds = process.create_time() - boot_time
    except (psutil.Error, OSError, ValueError):
        return ""
    return str(round(seconds * os.sysconf("SC_CLK_TCK"))) if boot_time else f"{seconds:.3f}"


@functools.lru_cache(maxsize=1)
def own_start(pid: int) -> str:
    """Return when this process started; a fork has another id, and asks again."""
    return process_start(pid)


@functools.cache
def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def whereabouts(process: Process) -> Whereabouts:
    """Tell whether a process runs on this machine, has ended, or belongs to another machine."""
    if process.host != host_name():
        return "elsewhere"
    found = process_start(process.pid)
    # Release 0.1 knew no start where Linux was not.
    is_same = bool(found) if not process.process_start else found == process.process_start
    return "alive" if is_same else "gone"
