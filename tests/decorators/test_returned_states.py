"""A task that returns Prefect states ends as Prefect says, read back from the sealed artifact."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Completed, Crashed, Failed, Paused, Running
from prefect.transactions import transaction
from prefect.utilities.annotations import quote

from ommx_prefect import flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@pytest.mark.parametrize(
    ("state", "status", "name"),
    [
        (Failed(message="solver gave up"), "failed", "Failed"),
        (Completed(name="Skipped"), "finished", "Skipped"),
        (Cancelled(message="not today"), "interrupted", "Cancelled"),
        (Crashed(message="node lost"), "interrupted", "Crashed"),
    ],
)
def test_a_returned_state_decides(state, status, name):
    @task
    def returns():
        return state

    @flow
    def one():
        returns(return_state=True)
        return Completed()

    sealed = run_flow(one)
    assert sealed.statuses == [status]
    assert sealed.column("prefect.state") == [name]
    assert sealed.runs[0].lifecycle_reason == (state.message if status != "finished" else None)


@pytest.mark.parametrize(
    ("states", "status", "name", "reason"),
    [
        ([Completed(), Completed()], "finished", "Completed", None),
        ([Completed(), Failed()], "failed", "Failed", "1/2 states failed."),
        ((Completed(), Crashed()), "failed", "Failed", "1/2 states failed."),
        ((Failed(), Cancelled()), "interrupted", "Cancelled", "1/2 states cancelled."),
        ([Failed(), Paused(pause_key="x")], "interrupted", "Paused", "1/2 states paused."),
        ([Completed(), Running()], "failed", "Failed", "1/2 states are not final."),
    ],
)
def test_returned_states_together_decide_as_they_do_for_prefect(states, status, name, reason):
    ended = []

    @task
    def returns():
        return states

    @flow
    def one():
        ended.append(returns(return_state=True))
        return Completed()

    sealed = run_flow(one)
    assert (ended[0].name, ended[0].type) == (name, StateType(name.upper()))
    assert sealed.statuses == [status]
    assert sealed.column("prefect.state") == [name]
    assert sealed.runs[0].lifecycle_reason == reason


def test_a_returned_state_of_another_run_is_taken_as_prefect_takes_it():
    ended = []

    @task
    def crashes():
        return Crashed(message="node lost")

    @task
    def returns(upstream):
        return upstream

    @flow
    def one():
        upstream = crashes(return_state=True)
        ended.append(returns(quote(upstream), return_state=True))
        return Completed()

    sealed = run_flow(one)
    assert ended[0].type == StateType.FAILED
    assert ended[0].message == "1/1 states failed."
    assert sealed.statuses == ["interrupted", "failed"]
    assert sealed.runs[1].lifecycle_reason == ended[0].message


def test_a_returned_failed_state_is_retried_as_another_run():
    calls = []

    @task(retries=1)
    def flaky():
        calls.append(1)
        return Failed(message="again") if len(calls) == 1 else "ok"

    @flow
    def one():
        return flaky()

    assert run_flow(one).statuses == ["failed", "finished"]


def test_a_returned_failed_state_in_a_transaction_is_not_rolled_back():
    @task
    def good():
        return 1

    @task
    def gives_up():
        return Failed(message="no plan")

    @flow
    def one():
        with transaction():
            good()
            gives_up(return_state=True)
        return Completed()

    sealed = run_flow(one)
    assert sealed.statuses == ["finished", "failed"]
    assert sealed.column("prefect.state") == ["RolledBack", "Failed"]
