"""A solve ends with its task and its flow, within two seconds, and keeps its best solution."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ommx.experiment import Experiment

from ommx_prefect import flow, load_experiment, task
from ommx_prefect._recovery.recover import recover
from ommx_prefect._solver.backends import BACKENDS
from ommx_prefect._solver.run_solve import bound_limit
from ommx_prefect._solver.supervised import STOP_SECONDS, supervise
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import resolve_adapter, solve
from ommx_prefect.solvers._solve import solve_in
from ommx_prefect.solvers._stopping import seconds_left
from tests.support.instance_files import instance_file
from tests.support.reading import run_flow
from tests.support.solving import eight_capacities, recorded
from tests.support.tiers import full

HARD = "gen-ip054.mps"
WITHIN = 2.0


def hard():
    return load_instance(instance_file(HARD)).instance


def raise_in(thread: threading.Thread, kind: type[BaseException]) -> None:
    """What Prefect does to a task whose timeout is over."""
    number = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(number, ctypes.py_object(kind))


def seconds_to_end(experiment: Experiment, after: float, adapter: str, **how: object) -> float:
    """Interrupt a hard solve after so many seconds; return how long it took to end by that.

    A busy machine gives it more of them, until it has had as many of the processor.
    """
    ended: list[float] = []

    def solving() -> None:
        try:
            with experiment.run() as run:
                solve_in(run, adapter, hard(), **how)
        except KeyboardInterrupt:
            ended.append(time.monotonic())

    thread = threading.Thread(target=solving)
    began, busy = time.monotonic(), time.process_time()
    thread.start()
    time.sleep(after)
    while time.process_time() - busy < 0.8 * after and time.monotonic() - began < 50:
        time.sleep(0.2)
    since = time.monotonic()
    raise_in(thread, KeyboardInterrupt)
    thread.join(60)
    assert ended
    return ended[0] - since


@pytest.mark.server  # it takes seconds
@pytest.mark.parametrize("adapter", ["highs", "scip", "python-mip"])
def test_an_interrupted_solve_stops_at_once_and_keeps_what_it_has(adapter):
    experiment = Experiment.with_temp_local_registry()
    # CBC does not stop before its limit: what was interrupted is its task.
    limits = {"time_limit_seconds": 20 if adapter == "python-mip" else 60}
    assert STOP_SECONDS < WITHIN - 0.3
    assert seconds_to_end(experiment, 2, adapter, limits=limits) < WITHIN
    experiment.commit()
    [run] = experiment.runs
    [row] = experiment.run_parameters_df().to_dict("records")
    assert (run.status, run.solves[0].status) == ("interrupted", "interrupted")
    assert "outcome" not in row
    if adapter == "python-mip":  # CBC says nothing before it ends
        assert "incumbent" not in run.attachment_names
        return
    incumbent = run.get_solution("incumbent")
    assert incumbent.feasible
    assert row["objective"] == incumbent.objective
    assert row["dual_bound"] < row["objective"]
    assert "solver.log" in run.attachment_names


@pytest.mark.server  # it takes seconds
@pytest.mark.parametrize("adapter", ["highs", "scip"])
def test_a_solver_that_does_not_stop_leaves_what_it_has_told_of(adapter, monkeypatch):
    experiment = Experiment.with_temp_local_registry()
    driver = type(next(x for x in BACKENDS if x.name == adapter).driver)
    monkeypatch.setattr(driver, "stop", lambda self, model: None)
    limits = {"time_limit_seconds": 8}
    others = set(threading.enumerate())
    assert seconds_to_end(experiment, 3, adapter, limits=limits) < 2 * WITHIN
    experiment.commit()
    [run] = experiment.runs
    [row] = experiment.run_parameters_df().to_dict("records")
    assert (run.status, run.solves[0].status) == ("interrupted", "interrupted")
    incumbent = run.get_solution("incumbent")
    assert incumbent.feasible
    assert row["objective"] == incumbent.objective
    assert row["dual_bound"] < row["objective"]
    assert row["gap"] > 0
    assert "solver.log" in run.attachment_names
    for thread in set(threading.enumerate()) - others:  # it does not go on into the next test
        if thread.name == "solver":
            thread.join(30)


def test_what_a_solver_raises_is_raised_here_and_what_looks_may_stop_it():
    def failing() -> None:
        raise ValueError("of the solver")

    with pytest.raises(ValueError, match="of the solver"):
        supervise(failing, pytest.fail, lambda: None)
    stopped = threading.Event()
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise(lambda: stopped.wait(30), stopped.set, look)
    assert stopped.is_set()


@pytest.mark.usefixtures("server")
def test_a_tasks_timeout_bounds_the_solver_wherever_it_runs():
    """Directly, and submitted to a thread; with solvers that can be stopped, and with CBC."""
    seconds: dict[str, float] = {}
    timed = solve.with_options(timeout_seconds=4)
    instance = hard()

    def take(name: str, call: Callable[[], object]) -> None:
        since = time.monotonic()
        call()
        seconds[name] = time.monotonic() - since

    @flow
    def night():
        for adapter in ("highs", "scip", "python-mip"):
            given = (adapter, instance)
            take(
                f"{adapter} submitted",
                lambda given=given: timed.submit(*given, time_limit_seconds=60).wait(),
            )
        take("highs direct", lambda: timed("highs", instance, return_state=True))

    sealed = run_flow(night)
    assert sealed.column("prefect.state") == ["TimedOut"] * 4
    assert sealed.statuses == ["failed"] * 4
    assert max(seconds.values()) < 4 + WITHIN + 2, seconds  # Prefect's own share is in it
    for run in (*sealed.runs[:2], sealed.runs[3]):
        assert run.get_solution("incumbent").feasible
    assert sealed.column("time_limit_seconds") == [60.0, 60.0, 60.0, None]


@pytest.mark.parametrize("backend", [x for x in BACKENDS if x.driver], ids=lambda x: x.name)
def test_a_tasks_timeout_is_a_limit_of_the_solver_itself(backend):
    adapter = resolve_adapter(backend.name)
    name = backend.limits["time_limit_seconds"]
    for left, given, limit in ((3.0, None, 4.0), (3.0, 2.0, 2.0), (3.0, 60.0, 4.0), (None, 9, 9)):
        model = adapter(eight_capacities()).solver_input
        if given is not None:
            backend.driver.write(model, name, given)
        bound_limit(backend, model, left)
        assert backend.driver.options(model)[name] == limit


@pytest.mark.usefixtures("server")
def test_the_seconds_left_are_those_of_prefects_clock():
    @task(timeout_seconds=30)
    def timed():
        time.sleep(1)
        return seconds_left()

    @task
    def untimed():
        return seconds_left()

    @flow
    def night():
        return timed(), untimed()

    left, never = night()
    assert 0 < left <= 29
    assert never is None


SCRIPT = """
import sys
from prefect.runtime import flow_run
from ommx_prefect import flow
from ommx_prefect.solvers import solve
from ommx_prefect.instances import load_instance

@flow
def night(path, adapter, how):
    print("flow run", flow_run.id, flush=True)
    call = solve.submit if how == "submitted" else solve
    result = call(adapter, load_instance(path).instance, checkpoint_seconds=0.5)
    if how == "submitted":
        result.result()

night(*sys.argv[1:])
"""


def started(tmp_path: Path, adapter: str, how: str) -> tuple[subprocess.Popen[str], str]:
    """Start a flow, and wait until its solve has been made durable with a solution."""
    script = tmp_path / "night.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(instance_file(HARD)), adapter, how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    flow_run_id = next(x for x in process.stdout if x.startswith("flow run")).split()[-1]
    files = CheckpointFiles(LocalStage(flow_run_id))
    until = time.monotonic() + 120
    while not _has_incumbent(files):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    return process, flow_run_id


def _has_incumbent(files: CheckpointFiles) -> bool:
    return any(b"solution" in x.read_bytes() for x in files.path.glob("*/record"))


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("adapter", ["highs", *full("scip")])
def test_kill_9_leaves_the_best_solution_so_far(tmp_path, adapter):
    process, flow_run_id = started(tmp_path, adapter, "direct")
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert flow_run_id in [x.flow_run_id for x in recover(min_age_seconds=0, mark_crashed=True)]
    experiment = load_experiment(flow_run_id)
    [run] = experiment.runs
    [row] = experiment.run_parameters_df().to_dict("records")
    assert run.status == "interrupted"
    incumbent = run.get_solution("incumbent")
    assert incumbent.feasible
    assert row["objective"] == incumbent.objective
    bounds = row["objective"], row["dual_bound"]  # HiGHS divides by the first, SCIP by the least
    divisor = abs(bounds[0]) if adapter == "highs" else min(map(abs, bounds))
    assert row["gap"] == pytest.approx(abs(bounds[0] - bounds[1]) / divisor)
    assert run.get_instance("instance").evaluate(incumbent.state.entries).feasible


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("how", ["submitted", *full("direct")])
def test_sigterm_stops_a_solve_at_once_and_its_run_keeps_its_solution(tmp_path, how):
    process, flow_run_id = started(tmp_path, "highs", how)
    since = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    assert time.monotonic() - since < 30  # the flow's own end is in it
    experiment = load_experiment(flow_run_id)
    [run] = experiment.runs
    assert run.status == "interrupted"
    assert run.get_solution("incumbent").feasible
    assert "solver.log" in run.attachment_names


def test_scip_that_ends_before_it_searches_is_asked_nothing_that_ends_the_process(open_instances):
    instance = load_instance(open_instances / "QPLIB_3506.qplib").instance
    found = recorded(
        solve_in, "scip", instance, limits={"time_limit_seconds": 0.05}, raise_on_failure=False
    )
    assert found.parameters["outcome"] in ("feasible", "no_solution")
