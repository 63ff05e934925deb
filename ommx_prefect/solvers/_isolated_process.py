"""The process of one isolated solve, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from ommx import Solution

from ommx_prefect.exceptions import SolveOutcomeError, SolverError
from ommx_prefect.solvers._call import SolverCall
from ommx_prefect.solvers._isolated_frames import receive, send
from ommx_prefect.solvers._stopping import require_flow_run
from ommx_prefect.solvers._supervised import supervise
from ommx_prefect.solvers._telemetry import LOG, cut

MODULE = "ommx_prefect.solvers._isolated_child"
MEGABYTE = 2**20
# So much of what it printed last stands in the reason why it died.
TAIL = 300


class SolverProcess:
    """A process that solves once.

    Args:
        call: Whose solve it is.
        request: What it is asked.
        memory_limit_mb: The most memory that it may take.

    Attributes:
        last: What it has answered, or what is known of it without its answer.
    """

    def __init__(
        self, call: SolverCall, request: Mapping[str, Any], memory_limit_mb: float | None
    ) -> None:
        self.last: dict[str, Any] = {}
        self._call = call
        self._request = dict(request)
        self._limit = memory_limit_mb
        self._peak = 0.0
        self._cpu = 0.0
        self._is_over_limit = False
        self._newest: dict[str, Any] | None = None
        self._kept: bytes | None = None

    def answer(self) -> dict[str, Any]:
        """Start the process, and return its answer.

        Raises:
            SolverError: It died, or was killed at its memory limit.
            BaseException: What interrupted the task.
        """
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ommx-prefect-") as folder:
            printed = Path(folder, "printed")
            with printed.open("wb") as output:
                self._start(output, folder)
            try:
                supervise(self._talk, self._stop, self._look)
            finally:
                self._end()
                self._note(Path(folder), time.perf_counter() - began)
            if "result" not in self.last:
                raise self._death(printed)
        return self.last

    def _start(self, output: Any, folder: str) -> None:
        paths = [path for path in sys.path if path]
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": folder},
        )

    def _talk(self) -> None:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        with contextlib.suppress(BrokenPipeError):
            send(requests, self._request)
        with answers:
            while message := receive(answers):
                if "incumbent" in message:
                    self._newest = message
                else:
                    self.last = message

    def _look(self) -> None:
        require_flow_run()
        self._watch_memory()
        if (newest := self._newest) is not None:
            self._newest = None
            solution = Solution.from_v2_bytes(newest["incumbent"])
            self._kept = newest["incumbent"]
            self._call.keep_incumbent(solution, newest["found"])

    def _watch_memory(self) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            self._peak = max(self._peak, process.memory_info().rss / MEGABYTE)
            times = process.cpu_times()
            self._cpu = times.user + times.system
        if self._limit is not None and self._peak > self._limit:
            self._is_over_limit = True
            self._process.kill()

    def _stop(self) -> None:
        """Tell the process to stop its solver, and to answer with what it has found."""
        with contextlib.suppress(OSError, ValueError):
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _end(self) -> None:
        if self._process.poll() is None and "result" not in self.last:
            self._process.kill()
        self._stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._process.kill()
        self._process.wait()

    def _note(self, folder: Path, seconds: float) -> None:
        """Record what is known of a process that ended without an answer."""
        if "result" not in self.last:
            known = {"peak_memory_mb": self._peak, "cpu_seconds": self._cpu}
            self.last = {"parameters": known, "seconds": seconds, "kept": self._kept}
        logs = [x for x in folder.rglob(LOG) if x.is_file()] or [folder / "printed"]
        if not self.last.get("log") and self._request["telemetry"] == "full":
            self.last["log"] = cut(logs[0].read_bytes())

    def _death(self, printed: Path) -> SolveOutcomeError:
        code = self._process.returncode
        if self._is_over_limit:
            reason = f"its process was killed at its memory limit of {self._limit:g} MB"
        elif code == -signal.SIGKILL:
            reason = "its process was killed (SIGKILL), as the kernel does when memory runs out"
        elif code < 0:
            reason = f"its process crashed ({signal.Signals(-code).name})"
        else:
            last = printed.read_text(errors="replace")[-TAIL:]
            reason = f"its process ended with the code {code}: {' '.join(last.split())}"
        return self._call.error(SolverError, reason)
