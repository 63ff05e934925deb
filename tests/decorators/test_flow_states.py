"""The rows of the status tables that speak of flows, read back from the sealed artifact."""

from __future__ import annotations

import time

import pytest
from ommx.experiment import Experiment, list_experiment_checkpoints
from prefect.states import Crashed

from ommx_prefect import flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


def test_a_flow_that_fails_is_a_checkpoint_and_its_name_is_not_advanced():
    @task
    def ok():
        return 1

    @flow(experiment="ghcr.io/acme/failing:one")
    def one():
        ok()
        raise ValueError("the flow itself")

    sealed = run_flow(one)
    assert sealed.experiment.status == "failed"
    assert "ValueError: the flow itself" in sealed.experiment.lifecycle_reason
    names = [c.requested_image_name for c in list_experiment_checkpoints()]
    assert "ghcr.io/acme/failing:one" in names
    restored = Experiment.restore_from_checkpoint("ghcr.io/acme/failing:one")
    assert [run.status for run in restored.runs] == ["finished"]


def test_a_flow_timeout_is_a_failed_checkpoint():
    @task
    def slow():
        # In steps: Prefect's timeout, where it comes from a thread, does not interrupt a sleep.
        for _ in range(2_000):
            time.sleep(0.1)

    @flow(timeout_seconds=5)
    def one():
        slow()

    sealed = run_flow(one)
    assert sealed.state.name == "TimedOut"
    assert sealed.experiment.status == "failed"
    assert sealed.statuses == ["interrupted"]


def test_a_flow_that_returns_cancelled_or_crashed_is_interrupted():
    @task
    def ok():
        return 1

    @flow
    def one():
        ok()
        return Crashed(message="out of memory")

    sealed = run_flow(one)
    assert sealed.experiment.status == "interrupted"
    assert sealed.experiment.lifecycle_reason == "Crashed: out of memory"


def test_flow_retries_keep_one_experiment_with_the_runs_of_all_attempts():
    attempts = []

    @task
    def solve(n):
        return n

    @flow(retries=1)
    def one():
        attempts.append(1)
        solve(len(attempts))
        if len(attempts) == 1:
            raise RuntimeError("first attempt")

    sealed = run_flow(one)
    assert sealed.experiment.status == "finished"
    assert sealed.column("prefect.flow_attempt") == [1, 2]
    assert [run.get_json("output") for run in sealed.runs] == [1, 2]
