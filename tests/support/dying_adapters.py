"""Adapters whose solver crashes, leaks, or is killed by somebody else."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
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


class LeakingBesideAProgram(Leaking):
    """Its solver is another program; it writes down which, and leaks itself."""

    def __init__(self, ommx_instance: Instance, **options: Any) -> None:
        program = subprocess.Popen(["sleep", "600"])
        Path(os.environ[WHEN]).write_text(str(program.pid))
        super().__init__(ommx_instance, **options)


# The file with which the process of a test says when.
WHEN = "TESTS_DIES_WHEN"


class _Later(OMMXHighsAdapter):
    """Its solver dies in the middle of a solve, when it is told to."""

    def __init__(self, ommx_instance: Instance, **options: Any) -> None:
        super().__init__(ommx_instance, **options)
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while not Path(os.environ[WHEN]).exists():
            time.sleep(0.05)
        self.die()

    def die(self) -> None:
        raise NotImplementedError


class KilledLater(_Later):
    """The kernel kills its solver."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class CrashingLater(_Later):
    """Its solver reads where nothing is."""

    def die(self) -> None:
        ctypes.string_at(0)


class LeakingLater(_Later):
    """Its solver takes ever more memory."""

    def die(self) -> None:
        leaked = []
        for _ in range(300):
            leaked.append(bytearray(os.urandom(1)) * 10_000_000)
            time.sleep(0.02)
