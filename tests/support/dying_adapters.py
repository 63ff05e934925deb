"""Adapters whose solver crashes, leaks, or is killed by somebody else."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Any

from ommx import Instance, Solution
from ommx_highs_adapter import OMMXHighsAdapter


class Crashing(OMMXHighsAdapter):
    """Its solver reads where nothing is."""

    def decode(self, data: Any) -> Solution:
        ctypes.string_at(0)
        raise AssertionError


class Killed(OMMXHighsAdapter):
    """The kernel kills its solver."""

    def decode(self, data: Any) -> Solution:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Leaking(OMMXHighsAdapter):
    """Its solver takes ever more memory."""

    def __init__(self, ommx_instance: Instance, **options: Any) -> None:
        super().__init__(ommx_instance, **options)
        leaked = []
        for _ in range(300):
            leaked.append(bytearray(os.urandom(1)) * 10_000_000)
            time.sleep(0.02)
