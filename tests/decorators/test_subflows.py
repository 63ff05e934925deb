"""Which experiment the runs of a subflow belong to."""

from __future__ import annotations

import prefect
import pytest
from ommx.experiment import Experiment

from ommx_prefect import current_experiment, current_run, flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@task
def one_task(x=1):
    current_run().log_parameter("x", x)
    return x


def test_a_plain_subflow_belongs_to_its_parents_experiment():
    @prefect.flow
    def plain_child():
        one_task.submit(10).result()

    @flow
    def child():
        one_task(20)

    @flow
    def parent():
        one_task(1)
        plain_child()
        child()

    sealed = run_flow(parent)
    assert sealed.column("x") == [1, 10, 20]
    assert len({run["flow_run_id"] for run in sealed.ledger["runs"]}) == 3


def test_a_subflow_with_its_own_experiment_seals_its_own_and_is_named_by_its_parent():
    children = []

    @flow(experiment="ghcr.io/acme/child")
    def child():
        one_task(5)
        children.append(current_experiment().image_name)

    @flow
    def parent():
        one_task(1)
        child()

    sealed = run_flow(parent)
    assert sealed.column("x") == [1]
    assert [subflow["image_name"] for subflow in sealed.ledger["subflows"]] == children
    assert len(Experiment.load(children[0]).runs) == 1
