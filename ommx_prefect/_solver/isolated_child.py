"""The main module of the process in which an isolated solve runs; it imports no Prefect.

It is asked once, on standard input, and answers on what was its standard output; what solvers
print goes to a file of its parent. When one more byte comes its parent wants it to stop, and when
its input ends the parent is gone: the solver is stopped, and what it has is told. The kernel's OOM
killer is told to take this process before any other.
"""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from ommx import Instance, Solution
from ommx.experiment import Experiment

from ommx_prefect._solver.call import SolverCall
from ommx_prefect._solver.isolated_frames import receive, send
from ommx_prefect._solver.python_mip import PythonMipDriver
from ommx_prefect._solver.run_solve import solution_of
from ommx_prefect._solver.telemetry import Watching
from ommx_prefect._solver.warm_start import WarmStart
from ommx_prefect._workarounds.notices import notices_collected
from ommx_prefect.exceptions import SolveOutcomeError, SolverOptionError

# So long after it was told to stop, nobody waits for its answer any more.
STOPPING_SECONDS = 5.0
# How often it looks whether its parent lives.
PARENT_SECONDS = 1.0
_is_answered = threading.Event()


def main() -> None:
    """Answer one request."""
    answers = _own_output()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # A shell starts what runs in its background with Ctrl-C ignored, and this process inherits it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request = receive(sys.stdin.buffer)
    if request is None:
        return
    threading.Thread(target=_stop_when_told, daemon=True).start()
    answer = _answer(request, lambda message: send(answers, message))
    _is_answered.set()
    send(answers, answer)


def _own_output() -> IO[bytes]:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the parent keeps what is printed in a file
    PythonMipDriver.output = 1
    return answers


def _stop_when_told() -> None:
    parent = os.getppid()
    # A process that was forked from the parent can hold the other end of the input open.
    while not _has_word() and os.getppid() == parent:
        pass
    if not _is_answered.is_set():  # else it is about to end, and must not be disturbed
        _thread.interrupt_main()
    time.sleep(STOPPING_SECONDS)
    os._exit(1)  # a solver that takes no word from outside, such as CBC


def _has_word() -> bool:
    """Wait briefly for a byte on the input, or its end."""
    if sys.platform == "win32":
        os.read(0, 1)  # not `sys.stdin`, whose lock would be held when the process ends
        return True
    return bool(select.select([0], [], [], PARENT_SECONDS)[0])


class _Call(SolverCall):
    """A call whose notices and solutions go to the parent."""

    until: float | None = None
    tell: Callable[[dict[str, Any]], None]

    def note(self, notice: str) -> None:
        self.tell({"note": notice})

    def keep_incumbent(self, solution: Solution, found: Mapping[str, Any]) -> None:
        self.tell({"incumbent": solution.to_v2_bytes(), "found": dict(found)})

    def seconds_left(self) -> float | None:
        return None if self.until is None else max(0.0, self.until - time.time())


def _answer(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    adapter: Any = importlib.import_module(request["module"])
    for name in request["class"].split("."):
        adapter = getattr(adapter, name)
    run = Experiment.with_temp_local_registry().run()
    call = _Call(run, adapter, Instance.from_v2_bytes(request["instance"]))
    call.until, call.tell = request["until"], tell
    with notices_collected() as warnings:
        result = _outcome(call, request)
    return {"result": result, "warnings": warnings, **_measured(call)}


def _outcome(call: SolverCall, request: dict[str, Any]) -> dict[str, Any]:
    how = Watching(request["telemetry"], request["checkpoint_seconds"])
    warm_start = WarmStart(request["start"], is_required=request["start_required"])
    try:
        found = solution_of(call, request["settings"], how, warm_start)
    except SolveOutcomeError as error:
        return {"error": type(error).__name__, "reason": error.reason}
    except SolverOptionError as error:
        return {"option": error.option, "reason": error.reason}
    except KeyboardInterrupt:
        return {"interrupted": True}
    return {"solution": found.to_v2_bytes(), "annotations": dict(found.annotations)}


def _measured(call: SolverCall) -> dict[str, Any]:
    measured = call.measured
    incumbent: Solution | None = measured.incumbent
    return {
        "parameters": {**measured.parameters, **_peak()},
        "seconds": call.seconds,
        "log": measured.log,
        "trajectory": [list(row) for row in measured.trajectory],
        "kept": None if incumbent is None else incumbent.to_v2_bytes(),
        "diagnostics": [
            [type(x).__module__, type(x).__name__, dataclasses.asdict(x)]
            for x in measured.diagnostics
        ],
    }


def _peak() -> dict[str, float]:
    """Return the most memory that this process has had.

    Linux's `ru_maxrss` starts at what the parent had when it started this process; the kernel's
    `VmHWM` is of this process alone.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return {"peak_memory_mb": int(line.split()[1]) / 2**10}
    if sys.platform == "win32":
        return {}
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


if __name__ == "__main__":
    main()
