"""Drive SCIP: its parameters, its run, and the meaning of its statuses."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ommx_prefect._solver.driver import SolverVerdict, explained
from ommx_prefect._solver.figures import Figures, relative_gap
from ommx_prefect._solver.scip_events import ScipEvents, of_adapter
from ommx_prefect._solver.watch import Watch, known

_QUADRATIC = "auxiliary_for_linearized_objective"
_EPSILON = 1e-9


class ScipDriver:
    """`pyscipopt.Model`; a gap limit that is reached ends it as stopped, not as optimal."""

    is_watchable: ClassVar[bool] = True
    verdicts: ClassVar[Mapping[str, SolverVerdict]] = {
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

    def explain(self, model: Any, name: str) -> str:
        write = partial(model.writeParams, comments=True, onlychanged=False, verbose=False)
        return explained(write, name)

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

    def gap_between(self, primal: float, dual: float) -> float:
        # As SCIP does, which takes what is nearer to 0 for 0 (`numerics/epsilon`).
        primal, dual = (0.0 if abs(x) <= _EPSILON else x for x in (primal, dual))
        if primal * dual < 0:
            return math.inf
        return relative_gap(primal, dual, min(abs(primal), abs(dual)))

    def start(self, adapter: Any, values: Mapping[int, float], objective: float) -> bool:
        model, variables = adapter.model, adapter.varname_map
        made = model.createSol()
        for number, value in values.items():
            model.setSolVal(made, variables[str(number)], value)
        # The adapter's own variable, which stands for a quadratic objective.
        if (stand_in := variables.get(_QUADRATIC)) is not None:
            model.setSolVal(made, stand_in, objective)
        return bool(model.addSol(made, free=True))

    def stop(self, model: Any) -> None:
        model.interruptSolve()

    @contextmanager
    def watched(self, adapter: Any, watch: Watch) -> Iterator[None]:
        events = ScipEvents(adapter, watch)
        try:
            yield
        finally:
            events.is_over = True  # the handler stays in the model

    def log_into(self, model: Any, path: Path) -> bool:
        model.setLogfile(str(path))
        return True

    def figures(self, model: Any, verdict: SolverVerdict) -> Figures:
        # Of an unbounded model it counts the points on its way as solutions.
        is_held = verdict in ("optimal", "stopped", "interrupted") and self.has_solution(model)
        gap = known(model.getGap())
        return Figures(
            seconds=model.getSolvingTime(),
            primal=known(model.getPrimalbound()) if is_held else None,
            dual=known(model.getDualbound()),
            gap=gap,
            nodes=None if is_linear(model) else int(model.getNTotalNodes()),
            iterations=int(model.getNLPIterations()),
            incumbents=int(model.getNBestSolsFound()) if is_held else None,
            version=f"{model.getMajorVersion()}.{model.getMinorVersion()}.{model.getTechVersion()}",
            threads=max(1, int(model.getParam("lp/threads"))),
        )

    def reports(self, model: Any) -> Sequence[object]:
        report = of_adapter("SCIPTerminationReport")
        snapshot = of_adapter("SCIPProgressSnapshot")
        # Before it searches, SCIP 10 ends the process where it is asked for its cuts.
        if report is None or snapshot is None or model.getStage() < _searching():
            return []
        last = report.from_model(model)
        return [snapshot.from_termination_report(last), last]


def _searching() -> int:
    return int(sys.modules["pyscipopt"].SCIP_STAGE.SOLVING)


def is_linear(model: Any) -> bool:
    """Tell a linear program: no integers, and rows that are linear."""
    if any(variable.vtype() != "CONTINUOUS" for variable in model.getVars()):
        return False
    return all(row.isLinear() for row in model.getConss(transformed=False))
