"""Checkpoints on their way to the artifact: their room, `gc`, and lost executions."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid

import numpy as np
import prefect
import pytest
from ommx.artifact import gc

from ommx_prefect import (
    checkpoint,
    codecs,
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._format.decode import decode
from ommx_prefect._recording.checkpoint_values import Checkpoints
from ommx_prefect._registry import files as _files
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages import checkpoints as checkpoint_files
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._values.secrets import Redactor
from tests.support.reading import run_flow
from tests.support.tiers import full

server = pytest.mark.usefixtures("server")


@server
def test_many_checkpoints_take_the_room_of_one():
    seen = {}

    @task
    def many():
        stage = LocalStage(str(prefect.runtime.flow_run.id))
        before = len(list((registry_root() / "blobs").glob("sha256/*")))
        for number in range(300):
            checkpoint(incumbent=np.full(1000, number), number=number)
        files = [path for path in (stage.path / "checkpoints").rglob("*") if path.is_file()]
        after = len(list((registry_root() / "blobs").glob("sha256/*")))
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
from ommx_prefect import current_run, flow, load_experiment, task
from ommx_prefect._registry import keepalive

keepalive.EVERY_SECONDS = float(sys.argv[1])

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
@pytest.mark.parametrize(("every_seconds", "is_kept"), [(0.3, True), *full((600, False))])
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
    Checkpoints(LocalStage(attempt.root_flow_run_id), attempt).save(values, Redactor({}), ["noted"])


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
        LocalStage(attempt.root_flow_run_id).begin(attempt)
        _checkpointed(attempt, gap=0.5, incumbent=[1])
        return attempt

    sealed = run_flow(one)
    assert sealed.statuses == ["interrupted"]
    attempt = sealed.state.result()
    parameters = {**attempt.parameters("Completed", 9.0), "gap": 0.0}
    LocalStage(attempt.root_flow_run_id).put(Shard(attempt, "finished", parameters=parameters))
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
        stage = LocalStage(attempt.root_flow_run_id)
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


@pytest.mark.parametrize(
    ("module", "step", "number"),
    [(checkpoint_files, "write_durable", 0), (_files, "flush", 1)],
    ids=["no record yet", "names not flushed yet"],
)
def test_a_checkpoint_that_a_seal_lets_go_of_while_it_is_written_is_written_again(
    monkeypatch, module, step, number
):
    attempt = _elsewhere(str(uuid.uuid4()), "", "n", 1.0)
    files = CheckpointFiles(LocalStage(attempt.root_flow_run_id))
    go_on, removed = getattr(module, step), []

    def go_on_after_a_seal(*arguments):
        if not removed:
            removed.append(files.discard({attempt.key: number}))
        go_on(*arguments)

    monkeypatch.setattr(module, step, go_on_after_a_seal)
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
        for blob in (CheckpointFiles(LocalStage(attempt.root_flow_run_id)).path).rglob("blobs/*"):
            blob.unlink()

    state = one(return_state=True)
    with pytest.raises(exceptions.SealError, match="run-1-n is damaged: its payload is lost"):
        seal(state.state_details.flow_run_id)


@pytest.mark.server
def test_a_checkpoint_taken_while_it_is_replaced_is_whole():
    attempt = _elsewhere(f"replaced-{uuid.uuid4()}", "t", "n", 1.0)
    stage = LocalStage(attempt.root_flow_run_id)
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
        assert written.wait(240)
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
