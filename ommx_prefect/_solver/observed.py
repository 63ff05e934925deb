"""Run a solver's model, observe its progress, and stop it when the task says so."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ommx import Instance
from ommx.experiment import OpenSolve

from ommx_prefect._solver.call import SolverCall, SolvesAtOnce
from ommx_prefect._solver.checkpoints import IncumbentCheckpoints, best_so_far, bounds_objective
from ommx_prefect._solver.driver import Driver
from ommx_prefect._solver.supervised import CpuClock, supervise
from ommx_prefect._solver.telemetry import Watching, cut, measure
from ommx_prefect._solver.watch import Watch

_THREADS = re.compile(rb"using up to (\d+) thread")


class Observed:
    """One run of a solver's model.

    Args:
        call: The solve it belongs to.
        driver: Who knows the solver.
        solve: The open record of it.
        prepared: The instance that the adapter was given.
        how: How it is watched.
    """

    def __init__(
        self,
        call: SolverCall,
        driver: Driver,
        solve: OpenSolve,
        prepared: Instance,
        how: Watching,
    ) -> None:
        self._call = call
        self._driver = driver
        self._solve = solve
        self._telemetry = how.telemetry
        self._prepared = prepared
        self._is_over = False
        self._cpu = CpuClock()
        self._at_once: SolvesAtOnce | None = None
        self._checkpoints = IncumbentCheckpoints(call, driver, prepared, how.checkpoint_seconds)
        self._watch = Watch(reads_at_nodes=how.checkpoint_seconds is not None)
        if how.checkpoint_seconds is not None and not driver.is_watchable:
            call.note(f"{call.adapter.__name__} gives no solution before it ends: no checkpoints")
        self._is_same_objective = bounds_objective(prepared)

    def run(self) -> None:
        """Run the solver to its end, and measure it, however it ends."""
        model = self._solve.solver_input
        with contextlib.ExitStack() as stack:
            if self._telemetry:
                self._at_once = stack.enter_context(self._call.counted())
                stack.callback(self._measure)
            if self._telemetry or self._watch.reads_at_nodes:
                stack.enter_context(self._driver.watched(self._solve.adapter, self._watch))
            if self._telemetry == "full":
                stack.enter_context(self._logged())
            stack.enter_context(self._call.timed())
            try:
                supervise(self._run, lambda: self._driver.stop(model), self._look)
            except BaseException:
                self._keep_incumbent()
                raise

    def _run(self) -> None:
        with self._cpu:
            self._driver.run(self._solve.solver_input)
        self._is_over = True

    def _look(self) -> None:
        self._call.require_wanted()
        if self._at_once is not None:
            self._at_once.look()
        self._checkpoints.look(self._watch)

    def _keep_incumbent(self) -> None:
        """Keep the best solution of a solve that was interrupted."""
        with self._failures_noted():
            if self._is_over and self._driver.has_solution(self._solve.solver_input):
                state = self._solve.adapter.decode_to_state(self._solve.solver_input)
                self._call.measured.keep(self._prepared.evaluate(state))
            elif (newest := self._watch.newest) is not None:  # it did not stop in time
                solution, found = best_so_far(self._watch, newest, self._driver, self._prepared)
                self._call.measured.keep(solution, found)

    @contextlib.contextmanager
    def _logged(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="ommx-prefect-", ignore_cleanup_errors=True) as at:
            path = Path(at, "solver.log")
            is_ours = self._driver.log_into(self._solve.solver_input, path)
            try:
                yield
            finally:
                if is_ours and path.exists():
                    self._call.measured.log = cut(path.read_bytes())

    def _measure(self) -> None:
        """Record the measures of a solver that has ended; a failure does not end the solve."""
        if self._is_over:
            with self._failures_noted():
                self._note_figures()
                if self._telemetry == "full":
                    self._note_diagnostics()
                else:
                    self._call.measured.trajectory = ()
        elif self._telemetry == "full" and self._is_same_objective:
            self._call.measured.trajectory = tuple(self._watch.rows)  # until it was left alone
        if self._watch.problem is not None:
            self._call.note(f"a callback of the solve failed: {self._watch.problem!r}")

    @contextlib.contextmanager
    def _failures_noted(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._call.note(
                f"the telemetry of the solve is not whole: {type(error).__name__}: {error}"
            )

    def _note_figures(self) -> None:
        driver, model, measured = self._driver, self._solve.solver_input, self._call.measured
        verdict = driver.verdicts.get(driver.status(model), "error")
        figures = dataclasses.replace(driver.figures(model, verdict), **self._watch.counts)
        measure(measured, self._watch, figures, is_same_objective=self._is_same_objective)
        if self._at_once is not None:
            self._at_once.look()
            measured.parameters["solves_at_once"] = self._at_once.most
        if used := _THREADS.search(measured.log[:10_000]):
            measured.parameters.setdefault("solver_threads", int(used[1]))
        seconds = self._cpu.of(measured.parameters.get("solver_threads"))
        if seconds is not None:
            measured.parameters["cpu_seconds"] = seconds

    def _note_diagnostics(self) -> None:
        reports = self._driver.reports(self._solve.solver_input)
        found = self._call.measured.diagnostics
        found += [*self._watch.diagnostics, *reports]
        if (collector := self._solve.diagnostics) is not None:
            for each in found:
                collector.record(each)
