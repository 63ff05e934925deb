"""How is SCIP's model driven? Its parameters, its run, and what its statuses mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from ommx_prefect.solvers._driver import Verdict, explained


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
