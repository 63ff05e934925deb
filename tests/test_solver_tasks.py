"""What the ready-made tasks of a flow leave in its sealed experiment, and what they raise."""

from __future__ import annotations

from typing import Any

import pytest
from reading import run_flow

from ommx_prefect import flow
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import InfeasibleError, sample, solve


@flow
def benchmark(paths: list[str]) -> list[Any]:
    instances = [load_instance(path).instance for path in paths]
    futures = solve.map("highs", instances, time_limit_seconds=2)
    sample.with_options(retries=0)("openjij", instances[-1], num_reads=2, seed=1)
    return [future.state.type.value for future in (f.wait() or f for f in futures)]


@pytest.mark.usefixtures("server")
def test_the_tasks_leave_their_rows_in_the_sealed_experiment(open_instances):
    files = ("flugpl.mps", "klein1.mps", "QPLIB_3506.qplib")
    sealed = run_flow(benchmark, [str(open_instances / file) for file in files])
    rows = set(
        zip(sealed.column("instance"), sealed.column("outcome"), sealed.statuses, strict=True)
    )
    assert rows == {
        ("flugpl", "optimal", "finished"),
        ("klein1", "infeasible", "failed"),
        ("QPLIB_3506", "not_applicable", "failed"),
        ("QPLIB_3506", "feasible", "finished"),
    }
    assert [run.attachment_names for run in sealed.runs] == [[]] * 4


@pytest.mark.usefixtures("server")
def test_the_task_raises_the_error_that_the_solve_gave(open_instances):
    instance = load_instance(open_instances / "klein1.mps").instance

    @flow
    def failing():
        solve("highs", instance)

    sealed = run_flow(failing)
    error = sealed.state.result(raise_on_failure=False)
    assert isinstance(error, InfeasibleError)
    assert (error.adapter, error.instance) == ("OMMXHighsAdapter", "klein1")
