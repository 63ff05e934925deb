"""Drive the model of each solver: one class per backend, doing what its adapter does.

The adapters' `solve` take no limits, so `Run.open_solve` hands out the backend's model and these
classes set its options, run it, and read what it says. No class imports its solver: whoever has a
model has imported it. HiGHS, SCIP and python-mip have a module each; their table is `backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from ommx_prefect._solver.figures import Figures
from ommx_prefect._solver.watch import Watch

SolverVerdict: TypeAlias = Literal[
    "optimal",
    "stopped",  # at a limit, with or without a solution
    "infeasible",
    "unbounded",
    "infeasible_or_unbounded",
    "interrupted",
    "error",
]


class Driver(Protocol):
    """The interface of a solver's backend. `model` is the adapter's `solver_input`."""

    is_watchable: ClassVar[bool]
    """Whether it tells of its progress, and has solutions to give, while it runs."""

    verdicts: ClassVar[Mapping[str, SolverVerdict]]
    """What each status of the backend means; statuses not listed are errors."""

    def options(self, model: Any) -> Mapping[str, object]:
        """Return every option with the value that is in effect."""

    def write(self, model: Any, name: str, value: object) -> None:
        """Set an option; ValueError when the backend refuses the value."""

    def explain(self, model: Any, name: str) -> str:
        """Return the backend's description of an option and its values; empty without one."""

    def bound(self, adapter: Any, variable: int, lower: float, upper: float) -> None:
        """Narrow the bounds of the OMMX variable with this id."""

    def drop_objective(self, model: Any) -> None:
        """Make the objective zero, ready for another run."""

    def run(self, model: Any) -> None:
        """Solve, as silently as the adapter's own `solve`."""

    def status(self, model: Any) -> str:
        """Return the backend's own word for how the run ended."""

    def has_solution(self, model: Any) -> bool:
        """Tell whether the backend says that it holds a feasible solution."""

    def gap(self, model: Any) -> float:
        """Return the relative gap to the bound; infinite when there is none, as for an LP."""

    def gap_between(self, primal: float, dual: float) -> float:
        """Return the relative gap of two bounds, as this solver defines it."""

    def start(self, adapter: Any, values: Mapping[int, float], objective: float) -> bool:
        """Let the next run start from a feasible solution; False where the solver refuses it."""

    def stop(self, model: Any) -> None:
        """Ask a run in another thread to end soon, where the solver supports it."""

    def watched(self, adapter: Any, watch: Watch) -> AbstractContextManager[None]:
        """Return a context in which a watch is told of all progress of the run."""

    def log_into(self, model: Any, path: Path) -> bool:
        """Let the next run write its log to a file; False where it cannot or the user's does."""

    def figures(self, model: Any, verdict: SolverVerdict) -> Figures:
        """Return the statistics of the run."""

    def reports(self, model: Any) -> Sequence[object]:
        """Return OMMX's own diagnostics of a run that has ended."""


def explained(write: Callable[[str], object], name: str) -> str:
    """Return the comment on an option in the file of options that a solver writes.

    HiGHS and SCIP write one option as comment lines, the second with type and range, and
    `name = value`.

    Args:
        write: Writes the file to a path.
        name: The option.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "options")
        write(str(path))
        text = path.read_text(errors="replace")
    for block in text.split("\n\n"):
        *comments, last = block.strip().splitlines() or [""]
        if last.partition("=")[0].strip() == name:
            return " ".join(line.lstrip("# ").strip() for line in comments if line[:1] == "#")
    return ""
