"""`flow` is a drop-in for `prefect.flow`, and subflows have a place."""

from __future__ import annotations

import asyncio
import threading

import prefect
import pytest
from ommx.experiment import Experiment, list_experiments
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.hashing import file_hash
from pydantic import BaseModel

from ommx_prefect import (
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    seal_hooks,
    task,
)
from tests.support.reading import run_flow, sealed_of, shown_of

pytestmark = pytest.mark.usefixtures("server")


@task
def one_task(x=1):
    current_run().log_parameter("x", x)
    return x


def test_seal_hooks_record_under_a_plain_prefect_flow():
    @prefect.flow(**seal_hooks("ghcr.io/acme/hooked"))
    def one():
        current_experiment().log_json("a", 1)
        one_task(2)

    sealed = run_flow(one)
    assert sealed.experiment.image_name.startswith("ghcr.io/acme/hooked:")
    assert sealed.column("x") == [2]
    assert sealed.experiment.get_json("a") == 1


def test_version_and_entrypoint_are_those_of_the_users_file(tmp_path):
    def one():
        return 1

    plain, ours = prefect.flow(one), flow(one)
    assert (ours.version, ours._entrypoint) == (plain.version, plain._entrypoint)
    assert ours.with_options(name="other").version == plain.version
    assert flow(version="7")(one).version == "7"
    script = tmp_path / "recorded_from_source.py"
    script.write_text("import {0}\n@{0}.flow\ndef one():\n    return 1\n".format("ommx_prefect"))
    assert load_flow_from_entrypoint(f"{script}:one").version == file_hash(str(script))


def test_a_flow_from_a_source_records(tmp_path):
    script = (
        "from ommx_prefect import flow, task\n@flow\ndef one():\n    return task(len)([1, 2])\n"
    )
    (tmp_path / "recorded_from_source.py").write_text(script)
    loaded = flow.from_source(source=str(tmp_path), entrypoint="recorded_from_source.py:one")
    sealed = run_flow(loaded)
    assert sealed.state.result() == 2
    assert sealed.statuses == ["finished"]


class Wanted(BaseModel):
    size: int


def test_annotations_mean_what_they_mean_in_the_users_file():
    @flow
    def one(wanted: Wanted):
        return wanted.size

    assert run_flow(one, {"size": "3"}).state.result() == 3


def test_a_flow_without_hooks_can_be_sealed_by_hand():
    @prefect.flow
    def one():
        one_task(2)

    state = one(return_state=True)
    flow_run_id = state.state_details.flow_run_id
    with pytest.raises(exceptions.NotSealedError):
        load_experiment(flow_run_id)
    answer = seal(flow_run_id)
    assert answer.counts == {"finished": 1}
    assert sealed_of(state).column("x") == [2]


def test_with_options_keeps_the_experiment_and_the_seal():
    called = []

    @flow(experiment="ghcr.io/acme/optioned")
    def one():
        one_task()

    changed = one.with_options(name="renamed", on_completion=[lambda *_: called.append(1)])
    sealed = run_flow(changed)
    assert called == [1]
    assert sealed.experiment.image_name.startswith("ghcr.io/acme/optioned:")


def test_hooks_that_the_user_shares_stay_the_users_own():
    calls = []
    shared = [lambda flow, flow_run, state: calls.append(state.name)]

    @flow(on_failure=shared)
    def one():
        raise ValueError("no")

    failed = run_flow(one.with_options(on_failure=shared))
    assert len(shared) == 1
    assert calls == ["Failed"]
    assert failed.experiment.status == "failed"


@pytest.mark.parametrize("log_prints", [None, False], ids=["the flow's", "no"])
def test_prints_of_a_task_are_logged_as_the_flow_wants_it(log_prints, caplog):
    options = {} if log_prints is None else {"log_prints": log_prints}

    @task(**options)
    def hello():
        print("hello from a task")

    @flow(log_prints=True)
    def one():
        hello()

    with caplog.at_level("INFO", "prefect"):
        run_flow(one)
    assert hello.log_prints is prefect.task(**options)(hello.fn).log_prints
    assert ("hello from a task" in caplog.text) is (log_prints is None)


async def test_other_coroutines_go_on_while_an_async_flow_is_sealed():
    go = threading.Event()

    @task
    def waits():
        return go.wait(240)

    @flow
    async def forgets():
        waits.submit()
        return "forgotten"

    @flow
    async def lets_go():
        await asyncio.sleep(1)
        go.set()

    state, _ = await asyncio.gather(forgets(return_state=True), lets_go())
    sealed = sealed_of(state)
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].get_json("output") is True


async def test_async_flows_seal_too():
    @flow(experiment="ghcr.io/acme/async")
    async def one():
        one_task(1)
        current_experiment().log_json("a", 1)

    sealed = sealed_of(await one(return_state=True))
    assert sealed.column("x") == [1]


def test_generator_flows_seal_too():
    @flow
    def one():
        yield one_task(1)
        yield one_task(2)

    assert list(one()) == [1, 2]


@pytest.mark.parametrize("fail", [False, True])
def test_the_flow_run_carries_a_summary_and_a_table_of_runs(fail):
    @flow(experiment="ghcr.io/acme/shown")
    def one():
        one_task(7)
        if fail:
            raise ValueError("no")

    sealed = run_flow(one)
    shown = shown_of(sealed.flow_run_id)
    summary = shown["ommx-experiment"]
    answer = seal(sealed.flow_run_id)
    assert answer.image_name in summary
    assert answer.manifest_digest in summary
    assert answer.opens_with in summary
    assert "1 finished" in summary
    assert '"x": 7' in shown["ommx-runs"]
    assert eval(answer.opens_with, {"Experiment": Experiment}).runs[0].status == "finished"


async def test_the_artifacts_of_an_async_flow_are_attached_too():
    @flow
    async def one():
        one_task(7)

    sealed = sealed_of(await one(return_state=True))
    assert shown_of(sealed.flow_run_id).keys() == {"ommx-experiment", "ommx-runs"}


def test_the_registry_lists_no_shards():
    @flow
    def one():
        one_task.map([1, 2, 3])

    before = _names_of_ours()  # a test that kills a seal may have left its scratch name
    run_flow(one)
    assert _names_of_ours() == before
    assert [name for name in before if "reserved" in name] == []  # of release 0.1.0, beside results


def _names_of_ours():
    return {ref.image_name for ref in list_experiments("ommx-prefect.local/")}
