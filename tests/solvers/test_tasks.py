"""What the ready-made tasks of a flow leave in its sealed experiment, and what they raise."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from ommx import Instance, ParametricInstance
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import flow
from ommx_prefect._values.secrets import REDACTED, Redactor
from ommx_prefect.instances import NamedInstance, _digest, _name, load_instance
from ommx_prefect.solvers import InfeasibleError, sample, solve
from ommx_prefect.solvers._task import run_name
from tests.support.models import knapsack
from tests.support.reading import run_flow


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
    attached = {tuple(run.attachment_names) for run in sealed.runs}
    assert attached == {(), ("solver.log",), ("solver.log", "trajectory")}


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


# What is passed for the instance, and what the error says to do.
NO_INSTANCE: list[tuple[Any, str]] = [
    ("flugpl.mps", "load_instance('flugpl.mps').instance"),
    (None, "is None. Pass an ommx.Instance; ommx_prefect.instances.load_instance(path).instance"),
    (3, "is of type int. Pass an ommx.Instance;"),
    (
        NamedInstance("empty", Instance.empty(), "here"),
        "is of type NamedInstance. Pass its .instance",
    ),
    (ParametricInstance.empty(), "is of type ParametricInstance. Pass its .with_parameters({...})"),
]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("value", "cure"), NO_INSTANCE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("call", "adapter"), [(solve, "highs"), (sample, "openjij")])
def test_what_is_no_instance_is_refused_by_an_error_that_names_the_cure(call, adapter, value, cure):
    @flow
    def mistaken():
        call(adapter, value, raise_on_failure=False)

    sealed = run_flow(mistaken)
    error = sealed.state.result(raise_on_failure=False)
    assert type(error) is TypeError
    assert cure in str(error)
    assert sealed.statuses == ["failed"]
    assert sealed.column("outcome") == [None]


@pytest.mark.usefixtures("server")
def test_a_task_run_is_named_by_its_instance_and_its_adapter():
    named, other = knapsack(), knapsack()
    named.title, other.title = "afiro | <b>", ""

    @flow
    def night():
        solve("highs", named)
        solve(OMMXHighsAdapter, other, seed=1)

    names = [row["task_run"] for row in run_flow(night).ledger["runs"]]
    assert names == ["afiro | <b> highs", "instance OMMXHighsAdapter"]


def test_the_name_of_a_task_run_shows_no_secret_and_costs_no_digest(monkeypatch):
    def refuse(*_):
        raise AssertionError("an instance was digested for a name")

    for module in (_digest, _name):
        monkeypatch.setattr(module, "instance_digest", refuse)
    secret = f"sesame-{uuid.uuid4().hex}"
    Redactor({"token": secret})  # as a flow run with this parameter does
    instance = knapsack()
    instance.title = f"of {secret}"
    name = run_name({"instance": instance, "adapter": "highs"})
    assert secret not in name
    assert name == f"of {REDACTED} highs"
    instance.title = ""
    assert run_name({"instance": instance, "adapter": OMMXHighsAdapter}) == (
        "instance OMMXHighsAdapter"
    )
