"""How is each solver's own model driven? One class per backend, doing what its adapter does.

The adapters' `solve` take no limits, so `Run.open_solve` hands out the backend's model and these
classes set its options, run it, and read what it says. No class imports its solver: whoever has a
model has imported it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

Verdict: TypeAlias = Literal[
    "optimal",
    "stopped",  # at a limit, with or without a solution
    "infeasible",
    "unbounded",
    "infeasible_or_unbounded",
    "interrupted",
    "error",
]


class Driver(Protocol):
    """What solving needs of a backend. `model` is the adapter's `solver_input`."""

    verdicts: ClassVar[Mapping[str, Verdict]]
    """What each status of the backend means; statuses not listed are errors."""

    def options(self, model: Any) -> Mapping[str, object]:
        """Return every option with the value that is in effect."""

    def write(self, model: Any, name: str, value: object) -> None:
        """Set an option; ValueError when the backend refuses the value."""

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


class HighsDriver:
    """`highspy.Highs`; what it calls optimal is within its gap, however wide that was set."""

    _FEASIBLE = 2  # kSolutionStatusFeasible

    verdicts: ClassVar[Mapping[str, Verdict]] = {
        "kOptimal": "optimal",
        "kModelEmpty": "optimal",
        "kInfeasible": "infeasible",
        "kUnbounded": "unbounded",
        "kUnboundedOrInfeasible": "infeasible_or_unbounded",
        "kTimeLimit": "stopped",
        "kIterationLimit": "stopped",
        "kSolutionLimit": "stopped",
        "kMemoryLimit": "stopped",
        "kObjectiveBound": "stopped",
        "kObjectiveTarget": "stopped",
        "kUnknown": "stopped",
        "kInterrupt": "interrupted",
        "kHighsInterrupt": "interrupted",
    }

    def options(self, model: Any) -> Mapping[str, object]:
        options = model.getOptions()
        return {name: getattr(options, name) for name in dir(options) if name[0] != "_"}

    def write(self, model: Any, name: str, value: object) -> None:
        if model.setOptionValue(name, value).name != "kOk":
            raise ValueError(f"HiGHS refuses {value!r}")

    def bound(self, adapter: Any, variable: int, lower: float, upper: float) -> None:
        adapter.model.changeColBounds(adapter.highs_vars[variable].index, lower, upper)

    def drop_objective(self, model: Any) -> None:
        columns = range(model.getNumCol())
        model.changeColsCost(len(columns), list(columns), [0.0] * len(columns))

    def run(self, model: Any) -> None:
        # HiGHS keeps one scheduler per thread of ours and fails when the next model in it wants
        # another number of threads.
        model.resetGlobalScheduler(True)
        model.run()

    def status(self, model: Any) -> str:
        return str(model.getModelStatus().name)

    def has_solution(self, model: Any) -> bool:
        empty = self.status(model) == "kModelEmpty"
        return empty or model.getInfo().primal_solution_status == self._FEASIBLE

    def gap(self, model: Any) -> float:
        return float(model.getInfo().mip_gap)


class ScipDriver:
    """`pyscipopt.Model`; a gap limit that is reached ends it as stopped, not as optimal."""

    verdicts: ClassVar[Mapping[str, Verdict]] = {
        "optimal": "optimal",
        "infeasible": "infeasible",
        "unbounded": "unbounded",
        "inforunbd": "infeasible_or_unbounded",
        "timelimit": "stopped",
        "gaplimit": "stopped",
        "memlimit": "stopped",
        "nodelimit": "stopped",
        "totalnodelimit": "stopped",
        "stallnodelimit": "stopped",
        "sollimit": "stopped",
        "bestsollimit": "stopped",
        "restartlimit": "stopped",
        "primallimit": "stopped",
        "duallimit": "stopped",
        "userinterrupt": "interrupted",
        "terminate": "interrupted",
    }

    def options(self, model: Any) -> Mapping[str, object]:
        return dict(model.getParams())

    def write(self, model: Any, name: str, value: object) -> None:
        model.setParam(name, value)

    def bound(self, adapter: Any, variable: int, lower: float, upper: float) -> None:
        column = adapter.varname_map[str(variable)]
        adapter.model.chgVarLb(column, lower)
        adapter.model.chgVarUb(column, upper)

    def drop_objective(self, model: Any) -> None:
        model.freeTransform()
        model.setObjective(0.0)

    def run(self, model: Any) -> None:
        # SCIP would catch Ctrl-C itself, and keep the GIL for the whole solve.
        model.setParam("misc/catchctrlc", False)
        model.optimizeNogil()

    def status(self, model: Any) -> str:
        return str(model.getStatus())

    def has_solution(self, model: Any) -> bool:
        return bool(model.getNSols() > 0)

    def gap(self, model: Any) -> float:
        return float(model.getGap())
