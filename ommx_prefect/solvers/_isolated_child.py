"""The main module of the process in which an isolated solve runs.

It is asked once, on standard input, and answers on what was its standard output; what solvers
print goes to a file of its parent. When standard input ends, its parent is gone, or wants it to
stop: the solver is stopped, and what it has is told. The kernel's OOM killer is told to take this
process before any other.
"""

from __future__ import annotations

import _thread
import contextlib
import dataclasses
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ommx import Instance, Solution
from ommx.experiment import Experiment

from ommx_prefect.exceptions import SolveOutcomeError, SolverOptionError
from ommx_prefect.solvers._call import SolverCall
from ommx_prefect.solvers._isolated_frames import receive, send
from ommx_prefect.solvers._python_mip import PythonMipDriver
from ommx_prefect.solvers._run_solve import solution_of
from ommx_prefect.solvers._telemetry import Watching
from ommx_prefect.solvers._warm_start import WarmStart

# So long after its input has ended, nobody waits for its answer any more.
STOPPING_SECONDS = 5.0


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
    threading.Thread(target=_stop_with_input, daemon=True).start()
    send(answers, _solved(request, answers))


def _own_output() -> IO[bytes]:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the parent keeps what is printed in a file
    PythonMipDriver.may_print = True
    return answers


def _stop_with_input() -> None:
    # Not `sys.stdin`, whose lock would be held when the process ends.
    while os.read(0, 1):
        pass
    _thread.interrupt_main()
    time.sleep(STOPPING_SECONDS)
    os._exit(1)  # a solver that takes no word from outside, such as CBC


def _solved(request: dict[str, Any], answers: IO[bytes]) -> dict[str, Any]:
    adapter: Any = importlib.import_module(request["module"])
    for name in request["class"].split("."):
        adapter = getattr(adapter, name)
    run = Experiment.with_temp_local_registry().run()

    def tell(solution: Solution, found: Mapping[str, Any]) -> None:
        send(answers, {"incumbent": solution.to_v2_bytes(), "found": dict(found)})

    instance = Instance.from_v2_bytes(request["instance"])
    call = SolverCall(run, adapter, instance, on_incumbent=tell)
    return {"result": _outcome(call, request), **_measured(call)}


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
    if sys.platform == "win32":
        return {}
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


if __name__ == "__main__":
    main()
