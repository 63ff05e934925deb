"""What an attempt has checkpointed is in its Run, as the Run itself would store it."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import prefect
import pytest
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import (
    checkpoint,
    codecs,
    current_experiment,
    current_run,
    flow,
    load_experiment,
    recorded,
    task,
)
from ommx_prefect._format.merge import SUFFIX
from ommx_prefect._stages.roots import stage_root
from tests.support.models import knapsack
from tests.support.reading import run_flow

server = pytest.mark.usefixtures("server")


@server
def test_the_latest_of_a_name_wins_in_the_run_of_the_attempt():
    @task
    def improves():
        checkpoint(gap=0.5, bound=1, incumbent={"x": 1}, parts={"a": np.arange(2), "b": 1})
        checkpoint(gap=0.25, incumbent={"x": 2}, parts={"b": np.arange(3)})
        checkpoint(changing=np.arange(4))
        checkpoint(changing="text", changed=2)
        checkpoint(changed=[1, 2])

    @flow
    def one():
        improves()

    sealed = run_flow(one)
    run = sealed.runs[0]
    assert sealed.statuses == ["finished"]
    columns = ("gap", "bound", "changing", "changed")
    assert [sealed.column(name)[0] for name in columns] == [0.25, 1, "text", None]
    assert sorted(run.attachment_names) == ["changed", "incumbent", "parts.b"]
    assert run.get_json("incumbent") == {"x": 2}
    assert run.get_json("changed") == [1, 2]
    assert run.get_with_codec(codecs.NumpyCodec, "parts.b").tolist() == [0, 1, 2]
    files = {path.name for path in (stage_root() / sealed.flow_run_id).rglob("*") if path.is_file()}
    assert files - {".lock"} == {"flow.json", "process.json", "sealed.json", "state.json"}


@server
def test_what_the_run_holds_itself_keeps_the_name_and_nothing_is_lost():
    @task
    def says_both(gap):
        checkpoint(gap=0.5, note="early", same=1, incumbent={"x": 1}, output="mine", late="text")
        current_run().log_parameter("note", "late")
        current_run().log_parameter("same", 1)
        current_run().log_parameter("late", 3)
        current_run().log_json("incumbent", {"x": 2})
        return {"done": True}

    @flow
    def one():
        says_both(0.01)

    sealed = run_flow(one)
    run = sealed.runs[0]
    own = [sealed.column(name)[0] for name in ("gap", "note", "same", "late", "output")]
    assert own == [0.01, "late", 1, 3, "mine"]
    kept = [sealed.column(name + SUFFIX)[0] for name in ("gap", "note", "same", "late")]
    assert kept == [0.5, "early", None, "text"]
    assert run.get_json("incumbent") == {"x": 2}
    assert run.get_json("incumbent@checkpoint") == {"x": 1}
    assert run.get_json("output") == {"done": True}


@server
def test_values_are_stored_as_the_run_itself_would_store_them(tmp_path):
    instance = knapsack()
    instance.title = "three"
    solution = OMMXHighsAdapter.solve(instance, verbose=False)
    solution.solver = "HiGHS"
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 64)
    values = {
        "instance": instance,
        "parametric": instance.as_parametric_instance(),
        "solution": solution,
        "samples": instance.evaluate_samples({0: {0: 1.0, 1: 1.0, 2: 0.0}}),
        "json": {"a": [1, None]},
        "array": np.arange(5),
        "bytes": b"\x00\xff",
        "picture": picture,
    }

    @task
    def stores():
        checkpoint(**values)

    @task
    def logs():
        for name, value in values.items():
            codecs.log_value(current_run(), name, value)

    @flow
    def one():
        stores()
        logs()

    kept, logged = run_flow(one).runs
    assert sorted(kept.attachment_names) == sorted(logged.attachment_names) == sorted(values)
    for name in values:
        assert kept.get_blob(name) == logged.get_blob(name)
        assert kept.attachment_media_type(name) == logged.attachment_media_type(name)
    assert kept.get_instance("instance").title == "three"
    assert kept.get_solution("solution").annotations == solution.annotations
    assert kept.write_attachment("picture", tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    assert kept.attachment_media_type("picture") == "image/png"


@server
def test_each_attempt_has_its_own_checkpoints_however_it_ends():
    @task(retries=1, timeout_seconds=5)
    def fails_first():
        attempt = prefect.context.TaskRunContext.get().task_run.run_count
        checkpoint(attempt=attempt, incumbent=[attempt])
        if attempt == 1:
            raise ValueError("first")

    @task(timeout_seconds=0.5)
    def too_long():
        checkpoint(incumbent=[0])
        for _ in range(100):
            time.sleep(0.05)

    @flow
    def one():
        fails_first()
        too_long(return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.statuses == ["failed", "finished", "failed"]
    assert sealed.column("prefect.state")[2] == "TimedOut"
    assert sealed.column("attempt") == [1, 2, None]
    assert [run.get_json("incumbent") for run in sealed.runs] == [[1], [2], [0]]


@server
async def test_async_plain_prefect_and_experiment_runs_checkpoint_too():
    @task
    async def waits(number):
        checkpoint(number=number)
        await asyncio.sleep(0.05)
        checkpoint(last=number)

    @prefect.task
    @recorded
    def plain():
        checkpoint(number=3)

    @task
    def yields():
        checkpoint(number=4)
        yield 1
        checkpoint(last=4)

    @flow
    async def one():
        await asyncio.gather(waits(1), waits(2))
        plain()
        list(yields())
        with current_experiment().run() as run:
            run.log_parameter("own", 1)
            checkpoint(number=5)

    state = await one(return_state=True)
    experiment = load_experiment(state.state_details.flow_run_id)
    frame = experiment.run_parameters_df()
    assert sorted(frame["number"]) == [1, 2, 3, 4, 5]
    assert frame["last"].dropna().tolist() == frame["number"][[0, 1, 3]].tolist()
