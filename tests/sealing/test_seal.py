"""Sealing: idempotent, deterministic, verified; what fails keeps its shards and says so."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest
from ommx.experiment import Experiment

from ommx_prefect import current_run, exceptions, flow, load_experiment, seal, task
from ommx_prefect._registry import names as registry
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._stages.roots import stage_root
from tests.support.reading import run_flow, sealed_of, shown_of

pytestmark = pytest.mark.usefixtures("server")


@task(log_inputs=["x"])
def note(x, value=None):
    if value is not None:
        current_run().log_parameter("mixed", value)
    return {"x": x}


def test_identical_layers_appear_once():
    @flow
    def one():
        for _ in range(5):
            note(7)

    artifact = run_flow(one).experiment.artifact
    digests = [layer.digest for layer in artifact.layers]
    assert len(digests) == len(set(digests))


def test_columns_of_several_types_are_kept_apart_and_reported():
    values = [1, 2.5, "text", True, 2**60 + 1]

    @flow
    def one():
        for i, value in enumerate(values):
            note(i, value)

    sealed = run_flow(one)
    answer = seal(sealed.flow_run_id)
    columns = ["mixed", "mixed:float64", "mixed:string", "mixed:bool"]
    found = [[v for v in sealed.column(c) if v is not None] for c in columns]
    assert found == [[1, 2**60 + 1], [2.5], ["text"], [True]]
    assert any("'mixed' has values of several types" in warning for warning in answer.warnings)
    assert sealed.ledger["split_columns"] == dict.fromkeys(columns[1:], "mixed")


def test_integers_join_floats_where_nothing_is_lost():
    @flow
    def one():
        note(0, 1)
        note(1, 2.5)

    sealed = run_flow(one)
    assert sealed.column("mixed") == [1.0, 2.5]
    assert seal(sealed.flow_run_id).warnings == ()


def test_a_running_flow_is_not_sealed():
    seen = []

    @flow
    def one():
        note(1)
        from prefect.runtime import flow_run

        with pytest.raises(exceptions.FlowRunNotFinishedError) as caught:
            seal(flow_run.id)
        seen.append(str(caught.value))

    run_flow(one)
    assert "is Running, and has not ended" in seen[0]
    assert "If its process has died, `ommx-prefect recover` seals it" in seen[0]
    assert "is not sealed" not in seen[0]  # `recover` may have sealed it, and not told Prefect


def test_an_unknown_flow_run_is_a_clear_error():
    with pytest.raises(exceptions.NotSealedError, match="OMMX_LOCAL_REGISTRY_ROOT"):
        seal(uuid.uuid4())
    with pytest.raises(exceptions.NotSealedError, match="OMMX_LOCAL_REGISTRY_ROOT"):
        load_experiment(uuid.uuid4())


def test_a_damaged_shard_stops_the_seal_and_the_next_one_finishes():
    damaged = {}

    @task
    def damage(flow_run_id):
        """Break the shard of the task before."""
        path = next((stage_root() / flow_run_id / "shards").iterdir())
        damaged[path] = path.read_bytes()
        path.write_bytes(b"broken")

    @flow(experiment="ghcr.io/acme/damaged:1")
    def one():
        from prefect.runtime import flow_run

        note(1)
        damage(flow_run.id)

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    assert state.is_completed()
    assert registry.find("ghcr.io/acme/damaged:1") is None
    assert "not sealed" in shown_of(flow_run_id)["ommx-experiment"].lower()
    for path, data in damaged.items():
        path.write_bytes(data)
    assert seal(flow_run_id).counts == {"finished": 2}
    assert sealed_of(state).runs[0].get_json("output") == {"x": 1}


def test_a_lost_payload_stops_the_seal():
    @task
    def lose(flow_run_id):
        for blob in (stage_root() / flow_run_id / "blobs" / "sha256").iterdir():
            blob_path(f"sha256:{blob.name}").unlink(missing_ok=True)
            blob.unlink()

    @flow
    def one():
        from prefect.runtime import flow_run

        note(f"payload {uuid.uuid4()}" * 2_000)  # small payload is in the record itself
        lose(flow_run.id)

    state = one(return_state=True)
    with pytest.raises(exceptions.SealError, match="not sealed"):
        seal(state.state_details.flow_run_id)


def test_ommx_gc_takes_nothing_from_a_running_flow():
    from ommx.artifact import gc

    @task
    def collect():
        time.sleep(1.1)
        gc(delete=True, grace_period="1s")

    @flow
    def one():
        note("kept")
        collect()

    sealed = run_flow(one)
    assert sealed.runs[0].get_json("output") == {"x": "kept"}


def test_annotations_name_the_flow_run_for_catalogues():
    @flow(name="Nightly plan")
    def one():
        note(1)

    sealed = run_flow(one)
    annotations = Experiment.load(seal(sealed.flow_run_id).image_name).annotations
    assert annotations["org.ommx-prefect.flow-name"] == "Nightly plan"
    assert annotations["org.ommx-prefect.flow-run-id"] == sealed.flow_run_id
    assert annotations["org.ommx-prefect.state"] == "Completed"


def test_stages_are_small_once_sealed():
    @flow
    def one():
        note.map([1, 2, 3])

    stage = Path(stage_root() / run_flow(one).flow_run_id)
    names = {path.name for path in stage.rglob("*") if path.is_file()} - {".lock"}
    assert names == {"flow.json", "process.json", "sealed.json", "state.json"}


@pytest.mark.parametrize(
    ("name", "stored", "shown"),
    [
        ("\ud800 lone\n" + "x" * 200, "\\ud800 lone\n", "\\ud800 lone " + "x" * 67),
        ("x" * 200, "x" * 200, "x" * 79),  # one word
    ],
)
def test_a_task_run_name_of_any_text_is_sealed_and_a_warning_shows_its_beginning(
    name, stored, shown
):
    @task(task_run_name="{x}")
    def odd(x):
        return object()

    @flow
    def one():
        odd(name)

    sealed = run_flow(one)
    assert sealed.ledger["runs"][0]["task_run"].startswith(stored)
    (warning,) = sealed.ledger["warnings"]
    assert warning.startswith(f"{shown}… (attempt 1): output (object) is not recorded")
