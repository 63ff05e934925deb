"""A solve in its own process is stopped with its task, and the worker lives, on every runner."""

from __future__ import annotations

import json
import os
import time

import psutil
import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from ommx_prefect import flow
from ommx_prefect.solvers import solve
from ommx_prefect.solvers._isolated_process import MODULE
from tests.support import dying_adapters
from tests.support.places import require
from tests.support.reading import run_flow
from tests.support.solving import eight_capacities, slow_instance
from tests.support.tiers import full


def runner_of(name):
    if name == "threads":
        return ThreadPoolTaskRunner(max_workers=1)
    if name == "processes":
        return ProcessPoolTaskRunner(max_workers=1)
    require("prefect_dask")
    from prefect_dask import DaskTaskRunner

    size = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_kwargs=size)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("name", ["processes", *full("threads", "dask")])
def test_whatever_ends_it_its_run_says_so_and_its_worker_goes_on(name):
    @flow(task_runner=runner_of(name))
    def night():
        since = time.monotonic()
        solve.submit(dying_adapters.Crashing, eight_capacities(), isolate=True).wait()
        leaks = {"isolate": True, "memory_limit_mb": 700}
        solve.submit(dying_adapters.Leaking, eight_capacities(), **leaks).wait()
        # However slow this machine is, by then the solver has begun: the first took half of it.
        seconds = time.monotonic() - since + 2
        timed = solve.with_options(timeout_seconds=seconds)
        timed.submit("scip", slow_instance(), isolate=True, checkpoint_seconds=0.5).wait()
        solve.submit("python-mip", eight_capacities(), isolate=True, checkpoint_seconds=9).wait()

    sealed = run_flow(night)
    assert sealed.column("prefect.state") == ["Failed", "Failed", "TimedOut", "Completed"]
    assert sealed.statuses == ["failed", "failed", "failed", "finished"]
    crashed, leaking, stopped, _ = sealed.runs
    assert "its process crashed (SIGSEGV)" in crashed.lifecycle_reason
    assert "at its memory limit of 700 MB" in leaking.lifecycle_reason
    incumbent = stopped.get_solution("incumbent")
    assert incumbent.feasible
    assert incumbent.objective == sealed.column("objective")[2]
    assert all(x > 0 for x in sealed.column("peak_memory_mb"))
    assert sealed.column("solves_at_once") == [1.0] * 4
    assert "environment" in sealed.experiment.attachment_names
    notes = json.dumps(sealed.ledger)
    assert "OMMXPythonMIPAdapter gives no solution before it ends: no checkpoints" in notes
    assert not left_over()


def left_over():
    """Processes of solvers that this test run has started and that live."""
    ours = os.environ["OMMX_LOCAL_REGISTRY_ROOT"]
    until = time.monotonic() + 20
    while (found := [x for x in psutil.process_iter() if is_ours(x, ours)]) and (
        time.monotonic() < until
    ):
        time.sleep(0.2)
    return found


def is_ours(process, registry):
    try:
        is_solver = MODULE in process.cmdline()
        return is_solver and process.environ().get("OMMX_LOCAL_REGISTRY_ROOT") == registry
    except psutil.Error:
        return False
