"""Drive HiGHS: its options, its run, and the meaning of its statuses."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from ommx_prefect._solver.driver import SolverVerdict, explained
from ommx_prefect._solver.figures import Figures, relative_gap
from ommx_prefect._solver.watch import Incumbent, Watch, known


class HighsDriver:
    """`highspy.Highs`; what it calls optimal is within its gap, however wide that was set."""

    _FEASIBLE = 2  # kSolutionStatusFeasible

    is_watchable: ClassVar[bool] = True
    verdicts: ClassVar[Mapping[str, SolverVerdict]] = {
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

    def gap_between(self, primal: float, dual: float) -> float:
        return relative_gap(primal, dual, abs(primal))

    def start(self, adapter: Any, values: Mapping[int, float], objective: float) -> bool:
        columns = adapter.highs_vars
        indexes = [columns[number].index for number in values]
        made = sys.modules["highspy"].HighsSolution()
        row = [0.0] * adapter.model.getNumCol()
        for index, value in zip(indexes, values.values(), strict=True):
            row[index] = value
        made.col_value = row
        return bool(adapter.model.setSolution(made).name == "kOk")

    def stop(self, model: Any) -> None:
        # It is read at every look at the clock, in simplex and in branch and bound alike; the
        # interrupt of a callback is asked for too seldom, or in each of a million iterations.
        model.setOptionValue("time_limit", 0.0)

    @contextmanager
    def watched(self, adapter: Any, watch: Watch) -> Iterator[None]:
        model = adapter.model
        columns = adapter.highs_vars
        ids, indexes = list(columns), [column.index for column in columns.values()]

        def told(event: Any) -> None:
            with watch.guarded():
                self._note(event, watch, is_new=False)
                if snapshot := _of_adapter("HighsProgressSnapshot"):
                    watch.diagnostics.append(snapshot.from_callback_event(event))

        def improved(event: Any) -> None:
            with watch.guarded():
                objective, dual = self._note(event, watch, is_new=True)
                with watch.reading():
                    values = event.data_out.mip_solution[indexes]  # a copy
                watch.found(Incumbent(ids, values, objective, dual))

        model.cbMipLogging.subscribe(told)
        model.cbMipImprovingSolution.subscribe(improved)
        try:
            yield
        finally:
            model.cbMipLogging.unsubscribe(told)
            model.cbMipImprovingSolution.unsubscribe(improved)

    def _note(self, event: Any, watch: Watch, *, is_new: bool) -> tuple[float | None, float | None]:
        data = event.data_out
        primal, dual = data.mip_primal_bound, data.mip_dual_bound
        watch.progress(data.running_time, primal, dual, int(data.mip_node_count), is_new=is_new)
        return known(primal), known(dual)

    def log_into(self, model: Any, path: Path) -> bool:
        options = model.getOptions()
        if options.log_file or options.log_to_console:  # the user wants it elsewhere
            return False
        model.setOptionValue("log_file", str(path))
        model.setOptionValue("output_flag", True)
        return True

    def figures(self, model: Any, verdict: SolverVerdict) -> Figures:
        info = model.getInfo()
        has_tree = info.mip_node_count >= 0
        is_held = self.has_solution(model)
        primal = known(self._objective(model)) if is_held else None
        # An optimal solution of a linear program is its own bound: the dual has the same value.
        is_proved = not has_tree and verdict == "optimal"
        return Figures(
            seconds=model.getRunTime(),
            primal=primal,
            dual=known(info.mip_dual_bound) if has_tree else primal if is_proved else None,
            gap=known(info.mip_gap) if has_tree else 0.0 if is_proved else None,
            nodes=int(info.mip_node_count) if has_tree else None,
            iterations=_iterations(info),
            version=str(model.version()),
            threads=int(model.getOptions().threads) or None,
        )

    def _objective(self, model: Any) -> float:
        # Of a model without rows and columns HiGHS says 0, whatever the constant is.
        if self.status(model) == "kModelEmpty":
            return float(model.getObjectiveOffset()[1])
        return float(model.getInfo().objective_function_value)

    def reports(self, model: Any) -> Sequence[object]:
        report = _of_adapter("HighsTerminationReport")
        return [report.from_model(model)] if report else []


_ITERATIONS = (
    "simplex_iteration_count",
    "ipm_iteration_count",
    "crossover_iteration_count",
    "pdlp_iteration_count",
)


def _iterations(info: Any) -> int | None:
    counted = [int(getattr(info, name)) for name in _ITERATIONS]  # -1: not asked of it
    return sum(max(0, count) for count in counted) if max(counted) >= 0 else None


def _of_adapter(name: str) -> Any:
    return getattr(sys.modules.get("ommx_highs_adapter"), name, None)
