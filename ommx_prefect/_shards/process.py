"""Facts of a process that an attempt carries: host, pid, when it started, and an ordered clock."""

from __future__ import annotations

import functools
import math
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Literal, Protocol

Whereabouts = Literal["alive", "gone", "elsewhere"]


class Process(Protocol):
    """What tells a process from all others; attempts carry it too."""

    @property
    def host(self) -> str:
        """Name of the machine."""

    @property
    def pid(self) -> int:
        """Process id on it."""

    @property
    def process_start(self) -> str:
        """When the process started, as the system tells it; empty where it does not."""


_latest = 0.0
_clock = threading.Lock()


def time_in_order() -> float:
    """Return the time, after all earlier answers of this process though its clock was set back.

    Runs are ordered by it, and attempts of one task run must not change places.
    """
    global _latest
    with _clock:
        _latest = max(time.time(), math.nextafter(_latest, math.inf))
        return _latest


def new_nonce() -> str:
    """Return what tells two executions apart that share everything else."""
    return uuid.uuid4().hex[:12]


def process_start(pid: int) -> str:
    """Return when a process started, in clock ticks since the boot; empty where Linux is not.

    A container that starts again has the same host name and the same process ids. A zombie (it
    is dead, and nobody has asked how it ended) has no start any more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


@functools.lru_cache(maxsize=1)
def own_start(pid: int) -> str:
    """Return when this process started; a fork has another id, and asks again."""
    return process_start(pid)


@functools.cache
def host_name() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def whereabouts(process: Process) -> Whereabouts:
    """Tell whether a process lives on this machine, is gone from it, or belongs to another."""
    if process.host != host_name():
        return "elsewhere"
    if process.process_start != process_start(process.pid):
        return "gone"
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "alive"
    return "alive"
