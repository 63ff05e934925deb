"""How is HiGHS's model driven? Its options, its run, and what its statuses mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ommx_prefect.solvers._driver import Verdict, explained


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

    def explain(self, model: Any, name: str) -> str:
        return explained(model.writeOptions, name)

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
