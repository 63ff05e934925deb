"""What goes wrong while recording never changes how a task ends, and is noted in its Run."""

from __future__ import annotations

import contextvars
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from ommx_highs_adapter import OMMXHighsAdapter
from prefect import unmapped
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.runtime import task_run
from prefect.utilities.annotations import quote
from pydantic import BaseModel, field_serializer

from ommx_prefect import current_run, exceptions, flow, seal, task
from ommx_prefect._recording.current import recording_here
from ommx_prefect._stages.local import LocalStage
from tests.support.models import knapsack
from tests.support.reading import run_flow, sealed_of
from tests.support.small_disk import on_small_disk

pytestmark = pytest.mark.usefixtures("server")


def test_an_output_no_codec_takes_is_a_named_warning_never_a_failure():
    class Strange:
        pass

    @task
    def strange():
        return {"ok": np.arange(3), "odd": Strange()}

    @flow
    def one():
        strange()

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].attachment_names == ["output.ok"]
    assert "output.odd (" in sealed.ledger["runs"][0]["notes"][0]
    assert "Strange" in sealed.ledger["runs"][0]["notes"][0]


class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("unbound")


class Lazy(dict[str, int]):
    def items(self):
        raise RuntimeError("not loaded")


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("made", "note"),
    [
        (Proxy, "'x' cannot be searched for secrets: RuntimeError: unbound"),
        (lambda: Lazy(a=1), "'x' cannot be searched for secrets: RuntimeError: not loaded"),
        (lambda: {Unprintable(): 1}, ""),
    ],
    ids=["proxy", "lazy dict", "key without text"],
)
def test_an_argument_that_refuses_to_be_looked_at_is_noted_and_changes_nothing(made, note):
    @task(cache_policy=NO_CACHE)
    def takes(x, number):
        current_run().log_json("called", True)
        return number

    @flow
    def one():
        return takes(quote(made()), 3)

    sealed = run_flow(one)
    assert sealed.state.result() == 3
    assert sealed.statuses == ["finished"]
    assert sealed.column("number") == [3]
    assert sealed.runs[0].get_json("called")
    assert note in " ".join(sealed.ledger["runs"][0]["notes"])


def test_an_argument_that_other_tasks_fill_meanwhile_changes_nothing():
    @task(cache_policy=NO_CACHE)
    def fills(memo, number):
        for key in range(2000):
            memo[(number, key)] = 1
        return number

    @flow
    def one():
        memo = {}
        return [future.result() for future in fills.map(unmapped(quote(memo)), range(40))]

    sealed = run_flow(one)
    assert sealed.state.result() == list(range(40))
    assert sealed.statuses == ["finished"] * 40


def test_a_run_that_is_asked_for_when_the_attempt_has_ended_is_refused():
    contexts = []

    @task
    def ended():
        contexts.append(contextvars.copy_context())

    @flow
    def one():
        ended()

    sealed = run_flow(one)
    with pytest.raises(exceptions.NoOpenRunError):
        contexts[0].run(current_run)
    assert sealed.statuses == ["finished"]
    assert seal(sealed.flow_run_id).counts == {"finished": 1}


STRICT = """
@task
def works(x):
    current_run().log_parameter("x", x)
    return x + 1

@task(on_error="raise")
def strict(x):
    return x

@flow
def one():
    {within}
    first = works(1)
    try:
        strict(2)
    except exceptions.RecordingError as error:
        second = "RecordingError" + str({says!r} in str(error))
    {mend}
    return first, second

{before}
"""


@pytest.mark.parametrize(
    ("before", "within", "mend", "says"),
    [
        ("", "fill()", "free()", "full"),
        ("remount('ro')", "", "remount('rw')", "Read-only"),
    ],
    ids=["full", "read-only"],
)
def test_a_registry_that_cannot_be_written_does_not_change_the_outcome(
    before, within, mend, says, tmp_path
):
    body = STRICT.format(before=before, within=within, mend=mend, says=says)
    outcome = on_small_disk(tmp_path, body)
    assert outcome["state"] == "Completed"
    assert outcome["result"] == [2, "RecordingErrorTrue"]
    assert outcome["statuses"] == ["finished", "failed"]
    assert says in outcome["degraded"]


def test_a_recording_that_breaks_in_the_middle_is_a_degraded_run():
    @task
    def breaks():
        current_run().log_parameter("x", 1)
        recording = recording_here()
        recording.record.stage = LocalStage(str(uuid.uuid4()), Path("\0 no such directory"))
        return 5

    @flow
    def one():
        return breaks()

    sealed = run_flow(one)
    assert sealed.state.result() == 5
    assert sealed.statuses == ["finished"]
    assert "could not stage the Run" in sealed.experiment.annotations["org.ommx-prefect.degraded"]


def test_a_timeout_that_fires_while_recording_loses_no_run():
    @task(timeout_seconds=0.15)
    def edge(seconds):
        time.sleep(seconds)
        return 1

    @flow
    def one():
        return [edge(0.134 + i / 1000, return_state=True).name for i in range(20)]

    sealed = run_flow(one)
    assert len(sealed.runs) == 20


def test_a_clock_that_is_set_back_changes_no_order_and_no_status(monkeypatch):
    behind, clock = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: clock() - behind[0])

    @task(retries=1)
    def second_time():
        behind[0] += 60
        if task_run.run_count == 1:
            raise ValueError("once")
        return 42

    @task(timeout_seconds=1)
    def sleeps():
        behind[0] += 60
        time.sleep(3)

    @flow
    def one():
        second_time()
        sleeps(return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.statuses == ["failed", "finished", "failed"]
    assert sealed.column("prefect.attempt") == [1, 2, 1]
    assert sealed.column("prefect.state") == ["Failed", "Completed", "TimedOut"]


@pytest.mark.parametrize("name", [3, Path("a/b")], ids=["int", "path"])
def test_a_task_may_have_any_name_that_prefect_takes(name):
    @task(name=name)
    def named():
        return 5

    @flow
    def one():
        return named()

    sealed = run_flow(one)
    assert sealed.state.result() == 5
    assert sealed.column("prefect.task") == [str(name)]


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_what_cannot_even_begin_to_be_recorded_runs_all_the_same(on_error, monkeypatch, caplog):
    @task(on_error=on_error)
    def unlucky():
        return 5

    @flow
    def one():
        return unlucky()

    monkeypatch.setattr("ommx_prefect._decorators.wrap.current_attempt", lambda context: 1 / 0)
    if on_error == "raise":
        with pytest.raises(exceptions.RecordingError, match="could not begin"):
            one()
    else:
        assert one() == 5
        assert "'unlucky' is not recorded: it could not begin: ZeroDivisionError" in caplog.text


class Slow(BaseModel):
    """Takes longer to encode than its task may take."""

    x: int = 1

    @field_serializer("x")
    def slowly(self, x):
        time.sleep(2.5)
        return x


@pytest.mark.parametrize("store_trace", [False, True], ids=["", "traced"])
async def test_what_recording_takes_is_none_of_a_tasks_time(store_trace):
    timed = task(timeout_seconds=2, store_trace=store_trace)

    @timed
    def returns():
        return Slow()

    @timed
    async def returns_too():
        return Slow()

    @timed
    def sleeps():
        time.sleep(4)

    @flow
    async def one():
        here = [returns(return_state=True), await returns_too(return_state=True)]
        here.append(sleeps(return_state=True))
        there = [work.submit() for work in (returns, returns_too, sleeps)]
        wait(there)
        names.extend(state.name for state in (*here, *(future.state for future in there)))
        return 1

    names = []
    sealed = sealed_of(await one(return_state=True))
    assert names == ["Completed", "Completed", "TimedOut"] * 2
    status = dict(zip(sealed.column("prefect.task"), sealed.statuses, strict=True))
    assert sorted(sealed.statuses) == ["failed"] * 2 + ["finished"] * 4
    assert status["sleeps"] == "failed"
    outputs = [run.get_json("output") for run in sealed.runs if run.status == "finished"]
    assert outputs == [{"x": 1}] * 4


def test_the_timeout_of_a_flow_is_heeded_while_a_task_with_one_is_recorded():
    @task(timeout_seconds=60)
    def returns():
        return Slow()

    @flow(timeout_seconds=5)
    def one():
        returns()
        # Where a signal handler stands already, Prefect times out by a thread, which does not
        # interrupt one long sleep.
        for _ in range(2_000):
            time.sleep(0.1)

    began = time.monotonic()
    sealed = run_flow(one)
    assert time.monotonic() - began < 200
    assert sealed.state.name == "TimedOut"
    assert sealed.runs[0].get_json("output") == {"x": 1}


def test_errors_and_texts_that_are_hard_to_write_are_recorded_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no message")

    caught = []

    @task
    def odd(name, error):
        raise error

    @flow
    def one():
        for error in (Mute(), FileNotFoundError("no file b\udcff")):
            try:
                odd("caf\udce9", error)
            except Exception as found:
                caught.append(type(found))

    sealed = run_flow(one)
    # Plain Prefect trips over the first one too; the record has it all the same.
    assert caught == [RuntimeError, FileNotFoundError]
    reasons = [run.lifecycle_reason for run in sealed.runs]
    assert reasons == ["Mute: (its message cannot be shown)", r"FileNotFoundError: no file b\udcff"]
    assert sealed.column("name") == [r"caf\udce9"] * 2


def test_traced_solves_in_many_threads_do_not_hang_the_process():
    # OMMX's Rust spans would: see ommx_prefect._workarounds.rust_spans.
    @task(store_trace=True)
    def traced(number):
        return current_run().log_solve(OMMXHighsAdapter, knapsack(), verbose=False).objective

    @flow
    def one():
        return traced.map(range(24)).result()

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"] * 24
    assert all(run.trace is not None for run in sealed.runs)
