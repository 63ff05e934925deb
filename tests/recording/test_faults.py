"""What goes wrong while recording never changes how a task ends, and is noted in its Run."""

from __future__ import annotations

import contextvars
import uuid
from pathlib import Path

import numpy as np
import pytest
from ommx_highs_adapter import OMMXHighsAdapter
from prefect import unmapped
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from ommx_prefect import current_run, exceptions, flow, seal, task
from ommx_prefect._recording.current import recording_here
from ommx_prefect._stages.local import LocalStage
from tests.support.models import knapsack
from tests.support.reading import run_flow
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
