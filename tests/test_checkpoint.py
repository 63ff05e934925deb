"""What a solve has checkpointed is in the sealed artifact, whatever becomes of the attempt."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import textwrap
import threading
import time
import uuid

import numpy as np
import ommx
import prefect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ommx.artifact import gc
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.client.orchestration import get_client
from prefect.states import Crashed
from pydantic import SecretStr
from reading import run_flow
from test_compose import scalars
from test_recording import _on_small_disk, _secrets_in

from ommx_prefect import (
    _checkpoint_files,
    checkpoint,
    codecs,
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    recorded,
    seal,
    task,
)
from ommx_prefect._checkpoint_files import CheckpointFiles
from ommx_prefect._checkpoint_values import Checkpoints
from ommx_prefect._decode import decode
from ommx_prefect._inputs import Redactor
from ommx_prefect._merge import SUFFIX, merged
from ommx_prefect._records import Attachments, Descriptor, RunRecord
from ommx_prefect._registry import registry_root, write_whole
from ommx_prefect._shards import Attempt, Shard
from ommx_prefect._stage import LocalStage, stage_root

server = pytest.mark.usefixtures("server")


def _instance() -> ommx.Instance:
    x = [ommx.DecisionVariable.binary(i) for i in range(3)]
    return ommx.Instance.from_components(
        decision_variables=x,
        objective=3 * x[0] + 2 * x[1] + x[2],
        constraints={0: x[0] + x[1] + x[2] <= 2},
        sense=ommx.Sense.Maximize,
    )


# ---------------------------------------------------------------- killed in the middle of a solve

SOLVING = """
import random, sys, threading, time
import ommx
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter
from prefect.runtime import flow_run
from pyscipopt import SCIP_EVENTTYPE, Eventhdlr
from ommx_prefect import checkpoint, current_run, flow, task

def knapsack(items):
    draw = random.Random(1).randint
    x = [ommx.DecisionVariable.binary(i) for i in range(items)]
    capacities = {j: sum(draw(5, 100) * v for v in x) <= 20 * items for j in range(8)}
    return ommx.Instance.from_components(
        decision_variables=x, objective=sum(draw(5, 100) * v for v in x),
        constraints=capacities, sense=ommx.Sense.Maximize,
    )

class Incumbents:
    def __init__(self, instance):
        self.instance, self.count = instance, 0

    def found(self, entries, gap):
        solution = self.instance.evaluate(entries)
        self.count += 1
        checkpoint(incumbent=solution, state=ommx.State(entries), gap=gap, found=self.count)
        if self.count == 3:
            print("checkpointed", flow_run.id, solution.objective, gap, flush=True)
            time.sleep(60)

def with_highs(instance, incumbents):
    with current_run().open_solve(OMMXHighsAdapter, instance) as solve:
        columns = {i: v.index for i, v in solve.adapter.highs_vars.items()}
        def improved(event):
            x = event.data_out.mip_solution
            incumbents.found({i: x[c] for i, c in columns.items()}, event.data_out.mip_gap)
        solve.solver_input.cbMipImprovingSolution += improved
        solve.solver_input.run()

class Improved(Eventhdlr):
    def eventinit(self):
        self.model.catchEvent(SCIP_EVENTTYPE.BESTSOLFOUND, self)
    def eventexec(self, event):
        best = self.model.getBestSol()
        x = {int(name): self.model.getSolVal(best, v) for name, v in self.columns.items()}
        self.incumbents.found(x, self.model.getGap())

def with_scip(instance, incumbents):
    with current_run().open_solve(OMMXPySCIPOptAdapter, instance) as solve:
        handler = Improved()
        handler.columns, handler.incumbents = solve.adapter.varname_map, incumbents
        solve.solver_input.includeEventhdlr(handler, "improved", "checkpoints")
        solve.solver_input.optimize()

@task
def long_solve(items, solver):
    instance = knapsack(items)
    {"highs": with_highs, "scip": with_scip}[solver](instance, Incumbents(instance))

@flow
def one(solver):
    long_solve(60, solver)

one(sys.argv[1])
"""


def _sealed_after_kill(process: subprocess.Popen[str], flow_run_id: str) -> Experiment:
    process.kill()
    process.wait(20)
    with get_client(sync_client=True) as client:
        killed = Crashed(message="killed")
        for attempt in LocalStage(flow_run_id).starts():
            client.set_task_run_state(uuid.UUID(attempt.task_run_id), killed, force=True)
        client.set_flow_run_state(uuid.UUID(flow_run_id), killed, force=True)
    seal(flow_run_id)
    return load_experiment(flow_run_id)


@server
@pytest.mark.parametrize("solver", ["highs", "scip"])
def test_incumbents_outlive_kill_9_in_the_middle_of_a_solve_and_a_gc(tmp_path, solver):
    script = tmp_path / "solving.py"
    script.write_text(textwrap.dedent(SOLVING))
    process = subprocess.Popen(
        [sys.executable, str(script), solver], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("checkpointed"))
    _, flow_run_id, objective, gap = line.split()
    time.sleep(1.2)
    gc(delete=True, grace_period="1s")
    experiment = _sealed_after_kill(process, flow_run_id)
    run = experiment.runs[0]
    assert run.status == "interrupted"
    assert str(process.pid) in run.lifecycle_reason
    assert "the last of its 3 checkpoints" in run.lifecycle_reason
    solution = run.get_solution("incumbent")
    assert solution.feasible
    assert solution.objective == float(objective)
    assert run.get_with_codec(codecs.StateCodec, "state").entries == solution.state.entries
    row = experiment.run_parameters_df().iloc[0]
    assert (row["gap"], row["found"], row["items"], row["solver"]) == (float(gap), 3, 60, solver)


# ---------------------------------------------------------------- attempts that end


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
    instance = _instance()
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


# ---------------------------------------------------------------- threads, and where no task runs


class CallingBack(OMMXHighsAdapter):
    """Checkpoints while OMMX's `log_solve` has the Run in its hands."""

    @classmethod
    def solve(cls, ommx_instance, **options):
        checkpoint(same_thread=1)
        _in_thread(lambda: checkpoint(other_thread=2))
        return OMMXHighsAdapter.solve(ommx_instance, verbose=False)


def _in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)


@server
def test_a_callback_checkpoints_inside_log_solve_from_its_own_thread_too():
    @task
    def solves():
        return current_run().log_solve(CallingBack, _instance()).objective

    @flow
    def one():
        solves()

    sealed = run_flow(one)
    assert sealed.column("same_thread") + sealed.column("other_thread") == [1, 2]
    assert sealed.runs[0].get_json("output") == 5


@server
def test_a_thread_of_highs_that_knows_no_task_means_the_one_that_runs():
    threads = set()

    @task
    def starts():
        with current_run().open_solve(OMMXHighsAdapter, _instance()) as solve:

            def improved(event):
                threads.add(threading.current_thread())
                checkpoint(objective=event.data_out.objective_function_value)

            solve.solver_input.setOptionValue("presolve", "off")
            solve.solver_input.cbMipImprovingSolution += improved
            solve.solver_input.startSolve()
            solve.solver_input.wait(30)
            solve.decode(solve.solver_input)
            return threading.current_thread() in threads

    @flow
    def one():
        return starts()

    sealed = run_flow(one)
    assert sealed.state.result() is False
    assert sealed.column("objective") == [5.0]


@server
def test_a_thread_that_could_mean_several_tasks_is_told_how_to_say_which():
    both = threading.Barrier(2)

    @task
    def works(number):
        context = contextvars.copy_context()
        both.wait(30)
        _in_thread(lambda: checkpoint(lost=number))
        _in_thread(lambda: context.run(checkpoint, number=number))
        both.wait(30)

    @flow
    def one():
        works.map([1, 2]).result()

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"] * 2
    assert sorted(sealed.column("number")) == [1, 2]
    assert sealed.column("lost") == [None, None]
    for row in sealed.ledger["runs"]:
        assert [("copy_context" in note) for note in row["notes"]] == [True]


@server
def test_outside_a_recorded_task_it_says_what_to_do():
    caught = []

    def tries():
        with pytest.raises(exceptions.NoCheckpointError, match="current_experiment") as error:
            checkpoint(x=1)
        caught.append(error.value)

    @prefect.task
    def unrecorded():
        tries()

    @flow
    def one():
        tries()
        unrecorded()

    tries()
    _in_thread(tries)
    run_flow(one)
    assert len(caught) == 4
    assert isinstance(caught[0], exceptions.NoOpenRunError)


@server
def test_after_finish_it_is_a_note_and_the_task_goes_on():
    @task
    def early():
        checkpoint(before=1)
        current_run().finish()
        checkpoint(after=1)
        checkpoint(after=2)
        return 1

    @flow
    def one():
        early()

    sealed = run_flow(one)
    assert sealed.column("before") + sealed.column("after") == [1, None]
    notes = sealed.ledger["runs"][0]["notes"]
    closed = "is not recorded: the Run was closed by finish() before"
    assert notes == [f"a checkpoint {closed}", f"output {closed}"]


# ---------------------------------------------------------------- bad values and secrets


@server
def test_what_cannot_be_recorded_is_noted_once_and_the_rest_is():
    class Strange:
        pass

    values = {
        "np_int": np.int64(3), "np_bool": np.bool_(True), "nan": float("nan"), "inf": float("inf"),
        "huge": 2**70, "long": "x" * 2000, "none": None, "odd": Strange(), "prefect.state": "mine",
        "api_key": "hunter2-by-name", "subclass": type("Float", (float,), {})(0.5),
        "": 1, "byte\udcff": 2,
    }  # fmt: skip

    @task
    def careless():
        checkpoint(none="earlier")
        for _ in range(50):
            checkpoint(**values)

    @flow
    def one():
        careless()

    sealed = run_flow(one)
    run = sealed.runs[0]
    columns = ("np_int", "np_bool", "inf", "none", "subclass", "", "byte\\udcff", "prefect.state")
    expected = [3, True, float("inf"), "earlier", 0.5, 1, 2, "Completed"]
    assert [sealed.column(name)[0] for name in columns] == expected
    assert "nan" in sealed.experiment.run_parameters_df().columns
    assert "api_key" not in sealed.experiment.run_parameters_df().columns
    assert run.get_json("huge") == 2**70
    assert run.get_json("long") == "x" * 2000
    notes = sealed.ledger["runs"][0]["notes"]
    about = ("huge", "long", "none", "odd", "prefect.state", "api_key")
    assert [sum(name in note for note in notes) for name in about] == [1] * len(about)
    assert len(notes) == len(about)


@server
def test_secrets_in_checkpoints_are_nowhere_in_the_artifact(tmp_path):
    secrets = ["hunter2-argument", "hunter2-value", "hunter2-nested"]

    @task
    def leaks(password):
        checkpoint(
            text=f"say {password}", listed=[password], hidden=SecretStr(secrets[1]),
            raw=password.encode(), nested={"password": secrets[2], "other": secrets[2]},
        )  # fmt: skip
        raise ValueError(f"{secrets[1]} {secrets[2]}")

    @flow(experiment="ghcr.io/acme/secret-checkpoints:1")
    def one():
        leaks(secrets[0], return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.column("text") == ["say **redacted**"]
    assert sealed.runs[0].get_json("listed") == ["**redacted**"]
    assert sealed.runs[0].lifecycle_reason == "ValueError: **redacted** **redacted**"
    assert _secrets_in(sealed.experiment.artifact.image_name, tmp_path, secrets) == []


def test_a_full_disk_warns_and_the_solve_goes_on(tmp_path):
    outcome = _on_small_disk(
        tmp_path,
        """
        from ommx_prefect import checkpoint

        @task
        def goes_on():
            checkpoint(found=1)
            fill()
            for i in range(20):
                checkpoint(found=2, incumbent=list(range(10000)))
            free()
            return 5

        @task(on_error="raise")
        def strict():
            fill()
            try:
                checkpoint(found=3, incumbent=list(range(10000)))
            finally:
                free()

        @flow
        def one():
            first = goes_on()
            try:
                strict()
            except exceptions.RecordingError as error:
                return first, "could not write a checkpoint" in str(error)
        """,
    )
    assert outcome["state"] == "Completed"
    assert outcome["result"] == [5, True]
    assert outcome["statuses"] == ["finished", "failed"]
    assert outcome["degraded"].count("could not write a checkpoint") == 2


# ---------------------------------------------------------------- the stage and the seal


@server
def test_many_checkpoints_take_the_room_of_one():
    seen = {}

    @task
    def many():
        stage = LocalStage(str(prefect.runtime.flow_run.id))
        before = len(list((registry_root() / "blobs" / "sha256").iterdir()))
        for number in range(300):
            checkpoint(incumbent=np.full(1000, number), number=number)
        files = [path for path in (stage.path / "checkpoints").rglob("*") if path.is_file()]
        after = len(list((registry_root() / "blobs" / "sha256").iterdir()))
        seen.update(files=len(files), in_registry=after - before)

    @flow
    def one():
        many()

    sealed = run_flow(one)
    assert seen == {"files": 2, "in_registry": 0}
    kept = sealed.runs[0].get_with_codec(codecs.NumpyCodec, "incumbent")
    assert kept.tolist() == [299] * 1000


@server
def test_gc_takes_nothing_that_was_checkpointed():
    @task
    def outlasts():
        checkpoint(incumbent=[uuid.uuid4().hex], gap=0.5)
        time.sleep(1.2)
        gc(delete=True, grace_period="1s")
        checkpoint(gap=0.25)

    @flow
    def one():
        outlasts()

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"]
    assert len(sealed.runs[0].get_json("incumbent")[0]) == 32
    assert sealed.column("gap") == [0.25]


KEEPING = """
import time, sys, uuid
import ommx
from ommx.artifact import gc
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_prefect import _keeper, current_run, flow, load_experiment, task

_keeper.EVERY_SECONDS = float(sys.argv[1])

class Patient(OMMXHighsAdapter):
    @classmethod
    def solve(cls, ommx_instance, **options):
        time.sleep(3.5)
        gc(delete=True, grace_period="2s")
        return OMMXHighsAdapter.solve(ommx_instance, verbose=False)

@task
def outlasts():
    x = [ommx.DecisionVariable.binary(i) for i in range(3)]
    instance = ommx.Instance.from_components(
        decision_variables=x, objective=x[0] + x[1], constraints={}, sense=ommx.Sense.Maximize
    )
    current_run().log_json("early", [uuid.uuid4().hex])
    return current_run().log_solve(Patient, instance).objective

@flow
def one():
    outlasts()

print("flow run", one(return_state=True).state_details.flow_run_id)
"""


@server
@pytest.mark.parametrize(("every_seconds", "is_kept"), [(0.3, True), (600, False)])
def test_gc_takes_nothing_that_an_open_run_has_logged(tmp_path, every_seconds, is_kept):
    script = tmp_path / "keeping.py"
    script.write_text(KEEPING)
    done = subprocess.run(
        [sys.executable, str(script), str(every_seconds)], capture_output=True, text=True
    )
    flow_run_id = done.stdout.split()[-1]
    run = load_experiment(flow_run_id).runs[0]
    # The control: with a grace period shorter than the interval, OMMX's own loss is seen.
    assert sorted(run.attachment_names) == (["early", "output"] if is_kept else [])
    if is_kept:
        assert len(run.get_json("early")[0]) == 32
        assert run.solves[0].input.num_variables == 3
    else:
        assert "could not store the Run" in done.stderr


def _elsewhere(flow_run_id: str, task_run_id: str, nonce: str, started_at: float) -> Attempt:
    return Attempt(
        flow_run_id, flow_run_id, 1, task_run_id, "lost", "lost-0", 1, nonce, started_at,
        "another-host", 1, inputs={"asked": 1},
    )  # fmt: skip


def _checkpointed(attempt: Attempt, **values) -> None:
    Checkpoints(LocalStage(attempt.owner), attempt).save(values, Redactor({}), ["noted"])


@server
def test_lost_executions_keep_their_checkpoints_each_its_own_and_later_ones_extend():
    task_run_id = str(uuid.uuid4())

    @flow
    def one():
        flow_run_id = str(prefect.runtime.flow_run.id)
        for number in (1, 2):
            attempt = _elsewhere(flow_run_id, task_run_id, f"nonce-{number}", float(number))
            # The second left no start record: its disk was full when it began.
            if number == 1:
                LocalStage(flow_run_id).begin(attempt)
            _checkpointed(attempt, number=number, incumbent=[number])

    sealed = run_flow(one)
    assert sealed.statuses == ["interrupted"] * 2
    assert sealed.column("prefect.state") == ["Superseded", "Running"]
    assert sealed.column("number") == [1, 2]
    assert sealed.column("asked") == [1, 1]
    assert [row["notes"] for row in sealed.ledger["runs"]] == [["noted"]] * 2
    assert "another-host" in sealed.runs[1].lifecycle_reason
    _checkpointed(_elsewhere(sealed.flow_run_id, "", "late", 3.0), number=3)
    assert seal(sealed.flow_run_id).counts == {"interrupted": 3}
    again = load_experiment(sealed.flow_run_id)
    assert again.run_parameters_df()["number"].tolist() == [1, 2, 3]
    assert [run.attachment_names for run in again.runs] == [["incumbent"], ["incumbent"], []]
    assert again.runs[1].get_json("incumbent") == [2]


@server
def test_an_attempt_sealed_as_cut_off_that_ends_after_all_keeps_what_it_had_checkpointed():
    @flow
    def one():
        attempt = _elsewhere(str(prefect.runtime.flow_run.id), str(uuid.uuid4()), "n", 1.0)
        LocalStage(attempt.owner).begin(attempt)
        _checkpointed(attempt, gap=0.5, incumbent=[1])
        return attempt

    sealed = run_flow(one)
    assert sealed.statuses == ["interrupted"]
    attempt = sealed.state.result()
    parameters = {**attempt.parameters("Completed", 9.0), "gap": 0.0}
    LocalStage(attempt.owner).put(Shard(attempt, "finished", parameters=parameters))
    assert seal(sealed.flow_run_id).counts == {"finished": 1}
    (run,) = load_experiment(sealed.flow_run_id).runs
    cells = load_experiment(sealed.flow_run_id).run_parameters_df().loc[0]
    assert (cells["gap"], cells["gap@checkpoint"]) == (0.0, 0.5)
    assert (cells["prefect.state"], cells["asked"]) == ("Completed", 1)
    assert run.get_json("incumbent") == [1]


@server
def test_an_attempt_sealed_as_cut_off_that_checkpoints_on_has_the_latest_of_every_name():
    kept = []

    @flow
    def one():
        attempt = _elsewhere(str(prefect.runtime.flow_run.id), str(uuid.uuid4()), "n", 1.0)
        stage = LocalStage(attempt.owner)
        stage.begin(attempt)
        checkpoints = Checkpoints(stage, attempt)
        checkpoints.save({"gap": 0.9, "incumbent": [1], "plan": [7]}, Redactor({}))
        kept.extend((stage, attempt, checkpoints))

    sealed = run_flow(one)
    stage, attempt, checkpoints = kept
    for gap in (0.5, 0.3):  # the seal has let go of what it held
        stage.begin(attempt)
        checkpoints.save({"gap": gap, "incumbent": [gap]}, Redactor({}))
        assert seal(sealed.flow_run_id).counts == {"interrupted": 1}
    (run,) = load_experiment(sealed.flow_run_id).runs
    parameters = load_experiment(sealed.flow_run_id).run_parameters_df()
    assert parameters["gap"].tolist() == [0.3]
    assert not [name for name in parameters.columns if "@checkpoint" in name]
    assert sorted(run.attachment_names) == ["incumbent", "plan"]
    assert (run.get_json("incumbent"), run.get_json("plan")) == ([0.3], [7])


def test_a_checkpoint_whose_files_a_seal_lets_go_of_while_it_is_written_is_written_again(
    monkeypatch,
):
    attempt = _elsewhere(str(uuid.uuid4()), "", "n", 1.0)
    files = CheckpointFiles(LocalStage(attempt.owner))
    removed = []

    def write_after_a_seal(path, data, *, durable=False):
        if path.name == "record" and not removed:
            removed.append(files.discard({attempt.key: 0}))  # its payload is here, no record yet
        write_whole(path, data, durable=durable)

    monkeypatch.setattr(_checkpoint_files, "write_whole", write_after_a_seal)
    _checkpointed(attempt, gap=0.5, incumbent=[1])
    assert removed == [[attempt.key]]
    taken = files.take([attempt.key])[attempt.key]  # raises where its payload is lost
    assert taken.documents is not None


@server
def test_a_checkpoint_that_lost_its_payload_stops_the_seal():
    @flow
    def one():
        attempt = _elsewhere(str(prefect.runtime.flow_run.id), "", "n", 1.0)
        _checkpointed(attempt, incumbent=[1])
        for blob in (CheckpointFiles(LocalStage(attempt.owner)).path).rglob("blobs/*"):
            blob.unlink()

    state = one(return_state=True)
    with pytest.raises(exceptions.SealError, match="has lost its payload"):
        seal(state.state_details.flow_run_id)


def test_a_checkpoint_taken_while_it_is_replaced_is_whole():
    attempt = _elsewhere(f"replaced-{uuid.uuid4()}", "t", "n", 1.0)
    stage = LocalStage(attempt.owner)
    checkpoints = Checkpoints(stage, attempt)
    written, stop = threading.Event(), threading.Event()

    def replace():
        number = 0
        while not stop.is_set():
            number += 1
            checkpoints.save({"number": number, "array": np.full(10, number)}, Redactor({}))
            written.set()

    thread = threading.Thread(target=replace)
    thread.start()
    seen = set()
    try:
        assert written.wait(30)
        while len(seen) < 50:
            shard = CheckpointFiles(stage).take([attempt.key])[attempt.key]
            run = decode(shard.documents).runs[0]
            seen.add(run.parameters["number"])
            digest = run.attachments.entries["array"].digest.removeprefix("sha256:")
            data = (stage.path / "blobs" / "sha256" / digest).read_bytes()
            assert codecs.NumpyCodec.decode(data)[0] == run.parameters["number"]
    finally:
        stop.set()
        thread.join()


ENDLESS = """
import itertools, sys
import numpy as np
from ommx_prefect._checkpoint_values import Checkpoints
from ommx_prefect._inputs import Redactor
from ommx_prefect._shards import Attempt
from ommx_prefect._stage import LocalStage

attempt = Attempt(sys.argv[1], "f", 1, "t", "task", "task-0", 1, "n", 1.0, "host", 1)
checkpoints = Checkpoints(LocalStage(attempt.owner), attempt)
for number in itertools.count():
    checkpoints.save({"number": number, "array": np.full(20000, number)}, Redactor({}))
    print(number, flush=True)
"""


@pytest.mark.parametrize("milliseconds", [1, 30])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_no_older_than_the_last_return(milliseconds):
    stage = LocalStage(f"endless-{uuid.uuid4()}")
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, stage.owner], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(milliseconds / 1000)
    process.kill()
    returned = [first, *process.stdout]
    process.wait(20)
    [attempt] = CheckpointFiles(stage).attempts()
    shard = CheckpointFiles(stage).take([attempt.key])[attempt.key]
    run = decode(shard.documents).runs[0]
    whole = [line for line in returned if line.endswith("\n")]
    assert run.parameters["number"] >= int(whole[-1])
    digest = run.attachments.entries["array"].digest.removeprefix("sha256:")
    data = (stage.path / "blobs" / "sha256" / digest).read_bytes()
    assert set(codecs.NumpyCodec.decode(data)) == {run.parameters["number"]}


# ---------------------------------------------------------------- the pure part

descriptors = st.builds(
    Descriptor,
    st.just("application/json"),
    st.sampled_from([f"sha256:{c * 64}" for c in "abc"]),
    st.just(3),
)
names = st.sampled_from(["a", "b", f"a{SUFFIX}"])
runs = st.builds(
    RunRecord,
    status=st.just("finished"),
    parameters=st.dictionaries(names, scalars, max_size=3),
    attachments=st.builds(Attachments, st.dictionaries(names, descriptors, max_size=3)),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(runs, runs)
def test_merging_keeps_every_value_and_the_run_s_own_keep_their_names(own, kept):
    found = merged(own, kept)
    for mine, theirs, both in (
        (own.parameters, kept.parameters, found.parameters),
        (own.attachments.entries, kept.attachments.entries, found.attachments.entries),
    ):
        assert {name: both[name] for name in mine} == dict(mine)
        for name, value in theirs.items():
            held = [both[n] for n in both if n.removesuffix(SUFFIX) == name.removesuffix(SUFFIX)]
            # Several suffixes may have been added; what counts is that the value is there.
            everything = held + [both[n] for n in both if n.startswith(name)]
            assert any(type(x) is type(value) and x == value for x in everything)
