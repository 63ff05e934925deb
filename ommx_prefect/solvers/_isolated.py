"""Run a solve in a process of its own, which may be killed or crash without the worker.

The record of the Solve is made here, by OMMX's `log_solve` with an adapter of the same name whose
`solve` asks the other process. It is stopped with the task's timeout or interruption, and killed
where it does not stop, or takes more memory than it may. What it has found by then is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ommx import Instance, Solution
from ommx.adapter import DiagnosticsSink, SolverAdapter

from ommx_prefect import exceptions
from ommx_prefect._solver.errors import prepared_for
from ommx_prefect._solver.integral import Row
from ommx_prefect._solver.outcome import found_in
from ommx_prefect._solver.start import Start, UnfitStartError, start_of
from ommx_prefect._solver.telemetry import Watching
from ommx_prefect._solver.warm_start import WarmStart
from ommx_prefect._workarounds.notices import tell
from ommx_prefect.exceptions import SolveOutcomeError, SolverError, SolverOptionError
from ommx_prefect.solvers._call import RecordedCall
from ommx_prefect.solvers._isolated_process import SolverProcess


@dataclass(frozen=True)
class Isolation:
    """The options for a solve in a process of its own.

    Args:
        isolate: Whether it has.
        memory_limit_mb: The most memory that it may take.

    Raises:
        ValueError: There is a limit without a process, or it is no positive number.
    """

    isolate: bool = False
    memory_limit_mb: float | None = None

    def __post_init__(self) -> None:
        limit = self.memory_limit_mb
        if limit is not None and not self.isolate:
            raise ValueError("memory_limit_mb needs isolate=True: a process that may be killed")
        if limit is not None and not limit > 0:
            raise ValueError(f"memory_limit_mb={limit!r} is no positive number of megabytes")


def isolated_solution(
    call: RecordedCall,
    settings: Mapping[str, Any],
    how: Watching,
    warm_start: WarmStart,
    isolation: Isolation,
) -> Solution:
    """Return the feasible Solution that another process found; raises as `solution_of`."""
    start = _start(call, warm_start)
    request = _request(call, settings, how, start) | {"start_required": warm_start.is_required}
    process = SolverProcess(call, request, isolation.memory_limit_mb)
    answers: list[dict[str, Any]] = []

    def solve(
        cls: type[SolverAdapter],
        /,
        ommx_instance: Instance,
        *,
        diagnostics: DiagnosticsSink | None = None,
        **options: Any,
    ) -> Solution:
        try:
            answers.append(process.answer())
        finally:
            _take(call, process.last, start, keep=how.telemetry == "full")
        if diagnostics is not None:
            for each in _reports(answers[0]):
                diagnostics.record(each)
        return _solution(call, answers[0]["result"])

    kind = call.adapter
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    adapter = type(kind.__name__, (kind,), {**named, "solve": classmethod(solve)})
    wants = {"store_diagnostics": True} if how.telemetry == "full" else {}
    solution = call.run.log_solve(adapter, call.instance, **wants, **settings)
    call.found = found_in(solution)
    return solution


def _start(call: RecordedCall, warm_start: WarmStart) -> Start | None:
    if warm_start.start is None:
        return None
    prepared = prepared_for(call.adapter, call.instance) or call.instance
    try:
        return start_of(warm_start.start, prepared)
    except UnfitStartError as error:
        warm_start.leave_out(call, str(error))
        return None


def _request(
    call: RecordedCall, settings: Mapping[str, Any], how: Watching, start: Start | None
) -> dict[str, Any]:
    kind = call.adapter
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        reason = "another process cannot import the adapter; put it into a module."
        raise SolverOptionError(kind.__name__, "isolate", reason)
    left = call.seconds_left()
    return {
        "module": kind.__module__,
        "class": kind.__qualname__,
        "instance": call.data,
        "settings": dict(settings),
        "telemetry": how.telemetry,
        "checkpoint_seconds": how.checkpoint_seconds,
        "start": None if start is None else start.values,
        "until": None if left is None else time.time() + left,
    }


def _take(
    call: RecordedCall, answer: Mapping[str, Any], start: Start | None, *, keep: bool
) -> None:
    """Copy the measures from the answer of the process, also of an interrupted solve."""
    measured = call.measured
    measured.parameters.update(answer.get("parameters", {}))
    if start is not None and "start" in measured.parameters:
        measured.parameters["start"] = start.whose
        measured.start = start.solution if keep else None
    for warning in answer.get("warnings", ()):
        tell(warning)
    call.seconds = answer.get("seconds", call.seconds)
    measured.log = answer.get("log", b"")
    measured.trajectory = [Row(*row) for row in answer.get("trajectory", ())]
    if kept := answer.get("kept"):
        measured.keep(Solution.from_v2_bytes(kept))


def _solution(call: RecordedCall, result: Mapping[str, Any]) -> Solution:
    if "solution" in result:
        solution = Solution.from_v2_bytes(result["solution"])
        solution.replace_annotations(result["annotations"])
        return solution
    if "option" in result:
        raise SolverOptionError(call.adapter.__name__, result["option"], result["reason"])
    if "error" in result:
        kind: type[SolveOutcomeError] = getattr(exceptions, result["error"], SolverError)
        raise call.error(kind, result["reason"])
    raise KeyboardInterrupt("the process of the solver was interrupted")


def _reports(answer: Mapping[str, Any]) -> list[Any]:
    """Return OMMX's diagnostics as the objects that they were."""
    found = []
    for module, name, fields in answer.get("diagnostics", ()):
        package = sys.modules.get(module)
        if kind := getattr(package, name, None):
            found.append(kind(**fields))
    return found
