"""Report SCIP's progress while it runs: new solutions, better bounds, solved nodes.

PySCIPOpt wants an event handler of its own class, which is made when PySCIPOpt is there.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from ommx_prefect._solver.watch import Incumbent, Watch, known

_NEW, _BOUND = "BESTSOLFOUND", "DUALBOUNDIMPROVED"
_NODES = ("NODEFEASIBLE", "NODEINFEASIBLE", "NODEBRANCHED")


class ScipEvents:
    """Passes the events of SCIP's event handler on to a watch.

    Args:
        adapter: The adapter whose model will run.
        watch: Who is told.

    Attributes:
        is_over: Whether nothing more is told.
        reads_at_nodes: Whether a solution that is not read when it is found is read at a node.
    """

    def __init__(self, adapter: Any, watch: Watch) -> None:
        self.is_over = False
        self.reads_at_nodes = watch.reads_at_nodes
        self._watch = watch
        self._variables = {int(x): y for x, y in adapter.varname_map.items() if x.isdigit()}
        self._silent_stage = sys.modules["pyscipopt"].SCIP_STAGE.INITSOLVE
        self._nodes = {int(getattr(_kinds(), name)) for name in _NODES}
        self._snapshot = of_adapter("SCIPProgressSnapshot")
        handler = _handler_class()(self)
        adapter.model.includeEventhdlr(handler, "ommx_prefect", "tells of the solver's progress")

    def told(self, model: Any, event: Any) -> None:
        """Pass an event to the watch; nothing is raised."""
        # Of a thousand nodes a second, nearly none is waited for.
        if self.is_over or (event.getType() in self._nodes and not self._watch.wants_values):
            return
        with self._watch.guarded():
            self._note(model, event)

    def _note(self, model: Any, event: Any) -> None:
        name = event.getName()
        if name in (_NEW, _BOUND):
            primal = self._primal(model)
            numbers = (primal, model.getDualbound(), int(model.getNTotalNodes()))
            # A solution that it started from comes with no event of its own.
            is_start = not self._watch.incumbents and known(primal) is not None
            is_new = name == _NEW or is_start
            self._watch.progress(model.getSolvingTime(), *numbers, is_new=is_new)
            # In this stage SCIP refuses what the snapshot asks, and says so on standard error.
            if self._snapshot is not None and model.getStage() != self._silent_stage:
                self._watch.diagnostics.append(self._snapshot.from_event(model, event))
        if self._watch.wants_values:
            self._read(model)

    def _primal(self, model: Any) -> float:
        # At the event of a new solution `getPrimalbound` is that of the one before.
        best = model.getBestSol() if model.getNSols() else None
        return float("inf") if best is None else float(model.getSolObjVal(best))

    def _read(self, model: Any) -> None:
        with self._watch.reading():
            best = model.getBestSol()
            values = [best[variable] for variable in self._variables.values()]
        objective, dual = known(model.getSolObjVal(best)), known(model.getDualbound())
        self._watch.found(Incumbent(list(self._variables), values, objective, dual))


def of_adapter(name: str) -> Any:
    """Return an attribute of the module of OMMX's adapter, if that is imported and has it."""
    return getattr(sys.modules.get("ommx_pyscipopt_adapter"), name, None)


def _kinds() -> Any:
    return sys.modules["pyscipopt"].SCIP_EVENTTYPE


@functools.cache
def _handler_class() -> Any:
    pyscipopt: Any = sys.modules["pyscipopt"]
    kinds = _kinds()
    always = [getattr(kinds, name) for name in (_NEW, _BOUND)]
    nodes = [getattr(kinds, name) for name in _NODES]

    class Handler(pyscipopt.Eventhdlr):  # type: ignore[misc]
        def __init__(self, events: ScipEvents) -> None:
            self.events = events
            # Nodes are a thousand a second; they matter where a checkpoint waits for a solution.
            self.watched = [*always, *(nodes if events.reads_at_nodes else ())]

        def eventinit(self) -> None:
            for kind in self.watched:
                self.model.catchEvent(kind, self)

        def eventexit(self) -> None:
            for kind in self.watched:
                self.model.dropEvent(kind, self)

        def eventexec(self, event: Any) -> None:
            self.events.told(self.model, event)

    return Handler
