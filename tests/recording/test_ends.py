"""How an attempt ends is what Prefect says, and what comes after its end is refused."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future

import prefect
import pytest
from prefect.cache_policies import INPUTS

from ommx_prefect import checkpoint, exceptions, flow, recorded, task
from ommx_prefect._decorators import flow as flow_module
from ommx_prefect._decorators import wrap
from ommx_prefect._recording import attach
from ommx_prefect._stages.local import LocalStage
from tests.support.logs import warnings_in
from tests.support.reading import run_flow

ORIGIN = "prefect.origin_task_run_id"


def broken(*_: object) -> None:
    raise OSError("the disk is gone")


@pytest.mark.usefixtures("server")
def test_each_run_ends_as_its_task_run_and_names_where_its_result_is_from(monkeypatch):
    is_failing, ids = [False], []

    @task
    def cancelled():
        future: Future[None] = Future()
        future.cancel()
        future.result()

    @task(cache_policy=INPUTS, persist_result=True, on_error="raise")
    def square(x):
        if is_failing[0]:
            raise ValueError("no")
        return x * x

    def state_of(called, *given):
        state = called(*given, return_state=True)
        ids.append(str(state.state_details.task_run_id))
        return state.name

    @flow
    def night(x):
        names = [state_of(cancelled), state_of(square, x)]
        is_failing[0] = True
        names.append(state_of(square.with_options(refresh_cache=True), x))
        names.append(state_of(square, x))
        monkeypatch.setattr(attach, "collected", broken)
        names.append(state_of(square, x))
        monkeypatch.undo()
        return names

    sealed = run_flow(night, 5.25)
    assert sealed.state.result() == ["Failed", "Completed", "Failed", "Cached", "Cached"]
    assert sealed.column("prefect.state") == sealed.state.result()
    assert sealed.statuses == ["failed", "finished", "failed", "finished", "finished"]
    assert sealed.column(ORIGIN) == [None] * 3 + [ids[1]] * 2
    assert any("the disk is gone" in note for note in sealed.ledger["runs"][4]["notes"])


@pytest.mark.usefixtures("server")
def test_a_checkpoint_after_the_end_is_refused_and_leaves_nothing():
    ended, threads, errors = threading.Event(), [], []

    @task
    def starts():
        checkpoint(a=1)
        run = contextvars.copy_context().run

        def late():
            ended.wait(60)
            try:
                run(checkpoint, b=2)
            except Exception as error:
                errors.append(type(error))

        threads.append(threading.Thread(target=late))
        threads[0].start()
        return 1

    @flow
    def night():
        return starts()

    sealed = run_flow(night)
    ended.set()
    threads[0].join()
    assert errors == [exceptions.NoCheckpointError]
    assert sealed.column("a") == [1]
    folder = LocalStage(sealed.flow_run_id).path
    assert [path for path in folder.rglob("checkpoints/*/*") if path.is_file()] == []


@pytest.mark.usefixtures("server")
def test_what_is_called_below_a_task_is_told_apart_from_what_it_runs(monkeypatch):
    """A flow's function in a task opens nothing; what could not begin is not hidden as well."""
    opened, plainly = [], flow_module.open_flow_run

    def opening(settings, flow, *given):
        opened.append(flow.name)
        return plainly(settings, flow, *given)

    monkeypatch.setattr(flow_module, "open_flow_run", opening)

    @flow(experiment="localhost/tests/other:{flow_run.name}")
    def other(x):
        return x

    @task
    def uses(x):
        return other.fn(x)

    @prefect.task
    @recorded
    def cannot_begin():
        return 2

    @flow
    def night():
        found = uses.submit(1).result()
        monkeypatch.setattr(wrap, "current_attempt", broken)
        return found, cannot_begin()

    with warnings_in("prefect.flow_runs", "prefect.task_runs") as warnings:
        sealed = run_flow(night)
    assert sealed.state.result() == (1, 2)
    assert opened == ["night"]
    assert len([text for text in warnings if "could not begin" in text]) == 1
    assert not [text for text in warnings if "hides it" in text]


@pytest.mark.parametrize("given", [{"log_inputs": False}, {"on_error": "raise"}])
def test_options_over_those_that_a_function_has_are_refused_with_the_cure(given):
    def plain(x):
        return x

    [(name, value)] = given.items()
    with pytest.raises(TypeError, match=rf"plain is recorded already.*{name}={value!r}"):
        task(**given)(recorded(plain))
    assert task(**given)(recorded(plain, **given)).name == "plain"
    assert task(recorded(plain, **given)).name == "plain"
