"""The rows of the status tables that speak of tasks, read back from the sealed artifact."""

from __future__ import annotations

import asyncio
import time

import pytest
from prefect import runtime
from prefect import task as plain_task
from prefect.client.schemas.objects import StateType
from prefect.states import Completed
from prefect.transactions import transaction

from ommx_prefect import current_run, flow, load_experiment, task
from ommx_prefect._prefect.states import EXPERIMENT_STATUS, RUN_STATUS
from tests.support.reading import await_final, run_flow, sealed_of

pytestmark = pytest.mark.usefixtures("server")


def test_every_state_type_of_prefect_has_a_row_in_both_tables():
    assert set(RUN_STATUS) == set(StateType)
    assert set(EXPERIMENT_STATUS) == set(StateType)


def test_a_normal_return_is_finished_with_its_output():
    @task
    def add(a, b):
        return a + b

    @flow
    def one():
        return add(2, 3)

    sealed = run_flow(one)
    assert sealed.state.is_completed()
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].get_json("output") == 5
    assert sealed.column("prefect.state") == ["Completed"]
    assert sealed.column("a") == [2]


def test_an_exception_is_failed_with_type_and_message():
    @task
    def boom():
        raise ValueError("no such\nplant")

    @flow
    def one():
        boom()

    sealed = run_flow(one)
    assert sealed.state.is_failed()
    assert sealed.statuses == ["failed"]
    assert sealed.runs[0].lifecycle_reason == "ValueError: no such plant"
    assert sealed.experiment.status == "failed"


def test_retries_are_one_run_per_attempt():
    calls = []

    @task(retries=2)
    def third_time_lucky():
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError(f"attempt {len(calls)}")
        return "ok"

    @flow
    def one():
        return third_time_lucky()

    sealed = run_flow(one)
    assert sealed.statuses == ["failed", "failed", "finished"]
    assert sealed.column("prefect.attempt") == [1, 2, 3]
    assert len(set(sealed.column("prefect.task_run_id"))) == 1
    assert sealed.experiment.status == "finished"


def test_a_sync_timeout_is_failed_and_timed_out():
    @task(timeout_seconds=0.5)
    def slow():
        for _ in range(100):
            time.sleep(0.05)

    @flow
    def one():
        slow(return_state=True)
        slow.submit().wait()
        return Completed()

    sealed = run_flow(one)
    assert sealed.statuses == ["failed", "failed"]
    assert sealed.column("prefect.state") == ["TimedOut", "TimedOut"]
    assert "timed out after 0.5 seconds" in sealed.runs[0].lifecycle_reason


async def test_an_async_timeout_is_failed_and_timed_out():
    @task(timeout_seconds=0.3)
    async def slow():
        await asyncio.sleep(5)

    @flow
    async def one():
        await slow(return_state=True)
        return Completed()

    sealed = sealed_of(await one(return_state=True))
    assert sealed.statuses == ["failed"]
    assert sealed.column("prefect.state") == ["TimedOut"]


def test_a_cached_task_run_is_a_run_with_its_output_and_origin(tmp_path):
    calls = []

    @task(persist_result=True, cache_key_fn=lambda *_: f"key-{tmp_path.name}")
    def costly(x):
        calls.append(x)
        return {"x": x}

    @flow
    def one():
        costly(7)
        costly(7)

    sealed = run_flow(one)
    assert calls == [7]
    assert sealed.statuses == ["finished", "finished"]
    assert sealed.column("prefect.state") == ["Completed", "Cached"]
    assert sealed.runs[1].get_json("output") == {"x": 7}
    origin = sealed.column("prefect.origin_task_run_id")[1]
    assert origin == sealed.column("prefect.task_run_id")[0]


async def test_a_cached_async_task_run_is_a_run_too(tmp_path):
    @task(persist_result=True, cache_key_fn=lambda *_: f"akey-{tmp_path.name}")
    async def costly(x):
        return [x]

    @flow
    async def one():
        await costly(7)
        await costly(7)

    sealed = sealed_of(await one(return_state=True))
    assert sealed.column("prefect.state") == ["Completed", "Cached"]
    assert sealed.runs[1].get_json("output") == [7]


def test_a_rollback_keeps_the_status_and_names_the_state():
    @task
    def write():
        return 1

    @write.on_rollback
    def undo(txn):
        pass

    @flow
    def one():
        with transaction():
            write()
            raise RuntimeError("roll back")

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"]
    assert sealed.column("prefect.state") == ["RolledBack"]


def test_a_task_that_never_starts_is_a_row_of_the_ledger_only(patient_seal):
    @task
    def boom():
        raise ValueError("upstream")

    @task
    def never(x):
        return x

    @flow
    def one():
        never.submit(boom.submit()).wait()
        return Completed()

    sealed = run_flow(one)
    assert sealed.statuses == ["failed"]
    rows = {row["name"].rpartition("-")[0]: row for row in sealed.ledger["task_runs"]}
    assert rows["never"]["run_ids"] == []
    assert rows["never"]["state"] == "NotReady"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyboardInterrupt("stop"), "KeyboardInterrupt: stop"),
        (SystemExit(3), "SystemExit: 3"),
        (asyncio.CancelledError("stop"), "CancelledError: stop"),
        # A name alone tells nobody what happened.
        (KeyboardInterrupt(), "KeyboardInterrupt: it was ended by SIGINT, as by Ctrl-C"),
        (SystemExit(), "SystemExit: it called sys.exit()"),
        (asyncio.CancelledError(), "CancelledError: it was cancelled while it ran"),
    ],
)
def test_an_interrupted_attempt_is_an_interrupted_run(error, reason):
    @task
    def stop():
        current_run().log_parameter("before", 1)
        raise error

    ids = []

    @flow
    def one():
        from prefect.runtime import flow_run

        ids.append(flow_run.id)
        stop()

    with pytest.raises(type(error)):
        one()
    experiment = load_experiment(ids[0])
    assert experiment.status == "interrupted"
    assert [run.status for run in experiment.runs] == ["interrupted"]
    assert experiment.runs[0].lifecycle_reason == reason
    assert experiment.run_parameters_df()["before"].tolist() == [1]


def test_nested_tasks_have_a_run_each():
    @task
    def inner(x):
        current_run().log_parameter("who", "inner")
        return x

    @task
    def outer(x):
        value = inner(x) + inner.fn(x)
        current_run().log_parameter("who", "outer")
        return value

    @flow
    def one():
        return outer(2)

    sealed = run_flow(one)
    assert sealed.state.result() == 4
    assert sealed.column("prefect.task") == ["outer", "inner"]
    # inner.fn(x) ran inside outer's Run, and the last one to log has the name.
    assert sealed.column("who") == ["outer", "inner"]
    runs = sealed.ledger["runs"]
    assert runs[1]["parent_task_run_id"] == runs[0]["task_run_id"]


def test_plain_tasks_are_rows_of_the_ledger_without_runs():
    @plain_task
    def plain():
        return 1

    @task
    def recorded_one():
        return 2

    @flow
    def one():
        plain()
        recorded_one()
        await_final(runtime.flow_run.id, 2)

    sealed = run_flow(one)
    assert len(sealed.runs) == 1
    assert any(not row["run_ids"] for row in sealed.ledger["task_runs"])
