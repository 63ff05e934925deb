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
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
from ommx import Solution

from ommx_prefect._solver.call import SolvesAtOnce
from ommx_prefect._solver.isolated_frames import receive, send
from ommx_prefect._solver.supervised import STOP_SECONDS, supervise
from ommx_prefect._solver.telemetry import LOG, cut
from ommx_prefect.exceptions import SolveOutcomeError, SolverError
from ommx_prefect.solvers._call import RecordedCall

MODULE = "ommx_prefect._solver.isolated_child"
MEGABYTE = 2**20
# A program has the folder of its script on its path, not the one it was started in.
SAFE_PATH = ("-P",) if sys.version_info >= (3, 11) else ()
# How long a process that was told to stop is waited for: it waits for its solver itself, and has to
# say then what is known.
ANSWER_SECONDS = STOP_SECONDS + 0.3
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
        self, call: RecordedCall, request: Mapping[str, Any], memory_limit_mb: float | None
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
        self._is_asked = False
        self._at_once: SolvesAtOnce | None = None

    def answer(self) -> dict[str, Any]:
        """Start the process, and return its answer.

        Raises:
            SolverError: It died, or was killed at its memory limit.
            BaseException: What interrupted the task.
        """
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ommx-prefect-") as folder:
            printed = Path(folder, "printed")
            with printed.open("w+b") as output:  # the process reads there, too
                self._start(output, folder)
            try:
                with self._counted() as self._at_once:
                    supervise(self._talk, self._stop, self._look, stop_seconds=ANSWER_SECONDS)
            finally:
                self._end()
                self._note(Path(folder), time.perf_counter() - began)
            if "result" not in self.last:
                raise self._death(printed)
        return self.last

    def _counted(self) -> AbstractContextManager[SolvesAtOnce | None]:
        is_wanted = self._request["telemetry"]
        return self._call.counted() if is_wanted else contextlib.nullcontext()

    def _start(self, output: Any, folder: str) -> None:
        paths = [path or os.getcwd() for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, *SAFE_PATH, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": folder},
            start_new_session=True,
        )

    def _talk(self) -> None:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        with contextlib.suppress(BrokenPipeError):
            send(requests, self._request)
            self._is_asked = True
        with answers:
            while message := receive(answers):
                if "incumbent" in message:
                    self._newest = message
                elif "note" in message:
                    self._call.note(message["note"])
                else:
                    self.last = message

    def _look(self) -> None:
        self._call.require_wanted()
        if self._at_once is not None:
            self._at_once.look()
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
            self._kill()

    def _stop(self) -> None:
        """Tell the process to stop its solver, and to answer with what it has found."""
        if not self._is_asked:  # it may never read, and what waits for it never end
            self._kill()
            return
        with contextlib.suppress(OSError, ValueError):
            # A byte, too: a process that was forked from this one holds the other end open.
            assert self._process.stdin is not None
            os.write(self._process.stdin.fileno(), b"\0")
            self._process.stdin.close()

    def _kill(self) -> None:
        """Kill the process, and the programs that its adapter has started."""
        if self._process.poll() is None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def _end(self) -> None:
        if self._process.poll() is None and "result" not in self.last:
            self._kill()
        self._stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._kill()
        self._process.wait()

    def _note(self, folder: Path, seconds: float) -> None:
        """Record the facts about a process that ended without an answer."""
        if "result" not in self.last:
            known = {"peak_memory_mb": self._peak, "cpu_seconds": self._cpu}
            self.last = {"parameters": known, "seconds": seconds, "kept": self._kept}
        logs = [x for x in folder.rglob(LOG) if x.is_file()] or [folder / "printed"]
        if self._at_once is not None:
            self.last["parameters"]["solves_at_once"] = self._at_once.most
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
