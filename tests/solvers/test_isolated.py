"""A solve in a process of its own says what any solve says, and takes no worker with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
import pytest
from ommx import DecisionVariable, Linear
from ommx.experiment import Experiment
from ommx_highs_adapter import HighsDiagnosticsAnalyzer

from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import outcome_of
from ommx_prefect.solvers._call import RecordedCall
from ommx_prefect.solvers._isolated_process import MODULE
from ommx_prefect.solvers._solve import solve_in
from tests.solvers.test_stopping import raise_in
from tests.support import dying_adapters, telling_adapters
from tests.support.instance_files import instance_file
from tests.support.solving import (
    X,
    check,
    eight_capacities,
    instance_of,
    recorded,
    slow_instance,
)
from tests.support.started import until

pytestmark = pytest.mark.server  # a process for each solve
# CBC's log is its process's standard output.
OF_ITS_LOG = {"nodes", "iterations", "incumbents", "first_solution_seconds", "primal_dual_integral"}
APART: dict[str, Any] = {"limits": {}, "isolate": True}


@pytest.mark.parametrize("adapter", ["highs", "scip", "python-mip"])
def test_it_says_what_a_solve_in_the_worker_says(adapter):
    limits = {"seed": 3, "threads": 1, "time_limit_seconds": 100.0}
    if adapter == "python-mip":
        limits.pop("threads")
    plain = recorded(solve_in, adapter, eight_capacities(), limits=limits)
    apart = recorded(solve_in, adapter, eight_capacities(), limits=limits, isolate=True)
    check(apart, "optimal")
    times = {"solve_seconds", "cpu_seconds", "first_solution_seconds", "primal_dual_integral"}
    more = {"peak_memory_mb", "cpu_seconds", *(OF_ITS_LOG if adapter == "python-mip" else ())}
    assert apart.parameters.keys() == plain.parameters.keys() | more
    for name in plain.parameters.keys() - times:
        assert apart.parameters[name] == plain.parameters[name], name
    assert 50 < apart.parameters["peak_memory_mb"] < 2000
    assert outcome_of(apart.value) == "optimal"
    [solve], [other] = apart.run.solves, plain.run.solves
    assert (solve.adapter, solve.adapter_options) == (other.adapter, other.adapter_options)
    assert len(solve.diagnostics) == len(other.diagnostics)
    assert "solver.log" in apart.run.attachment_names  # CBC's, too, which prints
    if adapter == "highs":
        assert len(HighsDiagnosticsAnalyzer(solve.diagnostics).progress_history_df) > 1


def test_outcomes_and_errors_are_the_same():
    infeasible = load_instance(instance_file("klein1.mps")).instance
    check(recorded(solve_in, "highs", infeasible, limits={}, isolate=True), "infeasible")
    wrong = {"options": {"presolve": "sideways"}, "isolate": True}
    with pytest.raises(SolverOptionError, match="cannot take the option 'presolve'"):
        recorded(solve_in, "highs", infeasible, limits={}, **wrong)


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (dying_adapters.Crashing, "its process crashed (SIGSEGV)"),
        (dying_adapters.Killed, "its process was killed (SIGKILL), as the kernel does"),
        (dying_adapters.Leaking, "its process was killed at its memory limit of 700 MB"),
    ],
)
def test_a_solver_that_dies_is_a_failed_run_that_says_so(adapter, reason):
    found = recorded(
        solve_in, adapter, instance_of([X], X), limits={}, isolate=True, memory_limit_mb=700
    )
    check(found, "error")
    assert reason in str(found.error)
    if adapter is dying_adapters.Leaking:
        assert found.parameters["peak_memory_mb"] > 700


def is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # which nobody collects
    except psutil.NoSuchProcess:
        return True


def test_what_kills_it_kills_the_programs_that_its_adapter_has_started(tmp_path, monkeypatch):
    monkeypatch.setenv(dying_adapters.WHEN, str(tmp_path / "pid"))
    limit = {"memory_limit_mb": 300}
    adapter = dying_adapters.LeakingBesideAProgram
    found = recorded(solve_in, adapter, instance_of([X], X), **APART, **limit)
    assert "at its memory limit of 300 MB" in str(found.error)
    program = int((tmp_path / "pid").read_text())
    until(lambda: is_over(program) or None)


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (dying_adapters.KilledLater, "its process was killed (SIGKILL)"),
        (dying_adapters.CrashingLater, "its process crashed (SIGSEGV)"),
        (dying_adapters.LeakingLater, "at its memory limit of 900 MB"),
    ],
)
def test_a_solver_that_dies_leaves_the_best_solution_it_had_told_of(
    adapter, reason, tmp_path, monkeypatch
):
    told: list[float] = []

    def keep(call, solution, found):
        told.append(solution.objective)
        (tmp_path / "now").touch()

    monkeypatch.setattr(RecordedCall, "keep_incumbent", keep)
    monkeypatch.setenv(dying_adapters.WHEN, str(tmp_path / "now"))
    how = {"isolate": True, "memory_limit_mb": 900, "checkpoint_seconds": 0.2}
    found = recorded(solve_in, adapter, slow_instance(), limits={"threads": 1}, **how)
    assert reason in str(found.error)
    assert found.run.status == "failed"
    assert found.run.get_solution("incumbent").feasible
    assert found.run.get_solution("incumbent").objective == told[-1]
    assert found.parameters["outcome"] == "error"


def test_it_ends_with_its_task_and_keeps_its_best_solution(monkeypatch):
    experiment = Experiment.with_temp_local_registry()
    ended: list[float] = []
    told = threading.Event()
    monkeypatch.setattr(RecordedCall, "keep_incumbent", lambda *_: told.set())

    def solving() -> None:
        given = {"limits": {}, "isolate": True, "checkpoint_seconds": 0.2}
        try:
            with experiment.run() as run:
                solve_in(run, "highs", slow_instance(), **given)
        except KeyboardInterrupt:
            ended.append(time.monotonic())

    thread = threading.Thread(target=solving)
    thread.start()
    assert told.wait(240)  # it has a solution, however long this machine took
    try:
        held = hold_input_open(solver_process().pid)
    finally:
        since = time.monotonic()
        raise_in(thread, KeyboardInterrupt)
        thread.join(60)
    os.close(held)
    assert ended
    assert ended[0] - since < 4
    experiment.commit()
    [run] = experiment.runs
    [row] = experiment.run_parameters_df().to_dict("records")
    assert run.status == "interrupted"
    assert run.get_solution("incumbent").objective == row["objective"]
    assert row["dual_bound"] >= row["objective"]


def solver_process() -> psutil.Process:
    """The process of the one isolated solve that this process has started."""
    found = []
    for each in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # one that has ended has no command
            found += [each] if MODULE in each.cmdline() else []
    [process] = found
    return process


def hold_input_open(pid: int) -> int:
    """Hold the other end of a process's input, as a process does that was forked meanwhile."""
    wanted = os.readlink(f"/proc/{pid}/fd/0")
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{each}") == wanted:
                return os.dup(int(each))
    raise AssertionError(wanted)


def test_its_process_imports_no_prefect_unless_the_adapter_does():
    found = recorded(solve_in, telling_adapters.Telling, instance_of([X], X), **APART)
    before, after = telling_adapters.modules_told(found.value)
    assert "ommx_prefect" in before
    assert not before & {"prefect", "pydantic", "pandas"}
    assert "prefect" in after


def test_what_the_solver_warns_of_and_its_own_memory_are_told():
    held = bytearray(b"x") * 500_000_000  # no part of it
    x = [DecisionVariable.binary(i) for i in range(2)]
    odd = instance_of(x, sum(x), {0: Linear({0: 1.0, 1: 1e-10}) <= 1.0})
    found = recorded(solve_in, "highs", odd, **APART)
    assert "HiGHS leaves out 1 of 2 coefficients" in found.parameters["solver_warning"]
    assert found.parameters["peak_memory_mb"] < len(held) / 2**20


def test_the_timeout_of_its_task_bounds_a_solver_that_cannot_be_stopped(monkeypatch):
    monkeypatch.setattr(RecordedCall, "seconds_left", lambda _: 0.5)
    check(recorded(solve_in, "python-mip", slow_instance(), **APART), "feasible")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python's -P is of 3.11")
def test_modules_of_the_folder_it_is_started_in_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "highspy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    check(recorded(solve_in, "highs", instance_of([X], X), **APART), "optimal")


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="memory_limit_mb needs isolate=True"):
        recorded(solve_in, "highs", instance_of([X], X), limits={}, memory_limit_mb=5)
    with pytest.raises(ValueError, match="no positive number of megabytes"):
        recorded(
            solve_in, "highs", instance_of([X], X), limits={}, memory_limit_mb=-5, isolate=True
        )


WORKER = """
import os
import time
from ommx_prefect.solvers._call import RecordedCall
from ommx_prefect.solvers._solve import solve_in
from tests.support.solving import recorded, slow_instance

def keep(*_):
    if not told:
        told.append(os.fork())
        if not told[0]:  # it holds what its parent has open
            time.sleep(600)
        print("told", flush=True)

told = []
RecordedCall.keep_incumbent = keep
given = {"limits": {}, "isolate": True, "checkpoint_seconds": 0.2}
recorded(solve_in, "scip", slow_instance(), **given)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and shells are POSIX")
def test_it_does_not_outlive_its_worker():
    """Also where a shell has started the worker in its background, with Ctrl-C ignored."""
    command = ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, WORKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert "told\n" in iter(worker.stdout.readline, "")  # HiGHS says hello first
        solver, forked = psutil.Process(worker.pid).children()
        assert MODULE in solver.cmdline()
        worker.kill()
    try:
        solver.wait(60)
    finally:
        forked.kill()
