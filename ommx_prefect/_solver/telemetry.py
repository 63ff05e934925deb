"""Record measures of a solve: parameters and attachments of its Run.

| telemetry | run parameters | attachments | diagnostics of OMMX |
|---|---|---|---|
| `"full"` | yes | `solver.log`, `trajectory`, `start` | yes |
| `"summary"` | yes | | |
| `False` | | | |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ommx import Solution
from ommx.experiment import Run

from ommx_prefect._solver.figures import Figures
from ommx_prefect._solver.integral import Row, primal_dual_integral
from ommx_prefect._solver.watch import Watch

Telemetry: TypeAlias = Literal["full", "summary", False]
LEVELS: tuple[Telemetry, ...] = ("full", "summary", False)

# What is attached to the Run of a solve; the instance where its process may be killed,
INSTANCE, START = "instance", "start"
LOG, TRAJECTORY, INCUMBENT = "solver.log", "trajectory", "incumbent"
# and to its experiment.
ENVIRONMENT = "environment"
# A log longer than this keeps its two ends.
MOST_LOG_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Watching:
    """The options for watching a solve.

    Args:
        telemetry: How much of it is recorded.
        checkpoint_seconds: How often its best solution is made durable; None: not at all.

    Raises:
        ValueError: It is not to be done so.
    """

    telemetry: Telemetry = "full"
    checkpoint_seconds: float | None = None

    def __post_init__(self) -> None:
        seconds = self.checkpoint_seconds
        level: object = self.telemetry  # what a user passes
        if level is True or level not in LEVELS:
            raise ValueError(f"telemetry={level!r} is none of 'full', 'summary' and False")
        if seconds is not None and not seconds > 0:
            raise ValueError(f"checkpoint_seconds={seconds!r} is no positive number of seconds")


@dataclass
class Measured:
    """The measures of one solve: run parameters, and what will be attached.

    Attributes:
        parameters: Run parameters, the names that every solver shares.
        log: What the solver wrote.
        trajectory: One row for each improvement.
        incumbent: The best solution of a solve that was interrupted.
        start: What the solver started from.
        diagnostics: What OMMX's own analyzers read; the record of the Solve has it.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    log: bytes = b""
    trajectory: Sequence[Row] = ()
    incumbent: Solution | None = None
    start: Solution | None = None
    diagnostics: list[Any] = field(default_factory=list)

    def keep(self, solution: Solution, found: Mapping[str, float] | None = None) -> None:
        """Keep the best solution of a solve that was interrupted, if it is one.

        Args:
            solution: The solution.
            found: Run parameters that tell of it.
        """
        if solution.feasible:
            self.incumbent = solution
            self.parameters |= {**(found or {}), "objective": float(solution.objective)}

    def attach(self, run: Run) -> None:
        """Attach the start, the log, the trajectory and the incumbent."""
        if self.start is not None:
            run.log_solution(START, self.start)
        if self.incumbent is not None:
            run.log_solution(INCUMBENT, self.incumbent)
        if self.log:
            text = "text/plain; charset=utf-8"
            run.log_attachment(LOG, text, self.log, compression="zstd")
        if self.trajectory:
            columns = {
                name: [getattr(row, name) for row in self.trajectory] for name in Row._fields
            }
            run.log_json(TRAJECTORY, columns, compression="zstd")


def measure(measured: Measured, watch: Watch, figures: Figures, *, is_same_objective: bool) -> None:
    """Combine the measures of callbacks with the solver's final statistics."""
    parameters = measured.parameters
    parameters.update(figures.parameters(is_same_objective=is_same_objective))
    if figures.nodes is None or figures.seconds is None:
        return
    rows = [*watch.rows, _last(watch.rows, figures)]
    if is_same_objective:
        measured.trajectory = rows
        parameters["primal_dual_integral"] = primal_dual_integral(rows, figures.seconds)
    if figures.primal is not None:
        # What presolve alone solves calls nobody back.
        first = watch.first_seconds
        parameters["first_solution_seconds"] = figures.seconds if first is None else first
        if watch.is_counted:
            parameters.setdefault("incumbents", max(1, watch.incumbents))


def _last(rows: Sequence[Row], figures: Figures) -> Row:
    before = rows[-1] if rows else Row(0.0)
    primal = before.primal if figures.primal is None else figures.primal
    dual = before.dual if figures.dual is None else figures.dual
    return Row(figures.seconds or 0.0, primal, dual, figures.nodes)


def cut(log: bytes) -> bytes:
    """Return a log, the middle of a long one left out."""
    if len(log) <= MOST_LOG_BYTES:
        return log
    half = MOST_LOG_BYTES // 2
    left_out = len(log) - 2 * half
    return b"%s\n... %d bytes left out ...\n%s" % (log[:half], left_out, log[-half:])
