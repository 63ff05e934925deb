"""A Dask worker that is lost in the middle of a solve: its Run keeps the best solution it had."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ommx_prefect import flow
from ommx_prefect.solvers import solve
from tests.support.killed_solves import incumbents
from tests.support.places import require
from tests.support.reading import run_flow
from tests.support.solving import slow_instance


@pytest.mark.full
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("adapter", ["highs", "scip"])
def test_the_run_of_a_lost_worker_keeps_its_solution_and_the_next_one_begins_with_it(adapter):
    require("prefect_dask")
    from prefect.runtime import flow_run
    from prefect_dask import DaskTaskRunner

    size = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}

    @flow(task_runner=DaskTaskRunner(cluster_kwargs=size))
    def night():
        lost = threading.Thread(target=lose_worker, args=(flow_run.id,))
        lost.start()
        given = {"checkpoint_seconds": 0.5, "resume": True, "threads": 1, "time_limit_seconds": 20}
        solve.submit(adapter, slow_instance(), **given).result()
        lost.join()

    sealed = run_flow(night)
    assert sealed.statuses == ["interrupted", "finished"]
    kept, resumed = sealed.runs
    incumbent = kept.get_solution("incumbent")
    assert incumbent.feasible
    assert sealed.column("start_objective") == [None, incumbent.objective]
    assert resumed.solves[0].output.objective >= incumbent.objective  # it is maximised


def lose_worker(flow_run_id):
    while not (found := dict(incumbents(flow_run_id))):
        time.sleep(0.1)
    (pid,) = found
    os.kill(pid, signal.SIGKILL)
