"""A second seal: the same answer for the same records, and one experiment that grows with more."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid

import pytest
from ommx.experiment import list_experiment_checkpoints

from ommx_prefect import current_experiment, flow, load_experiment, seal
from ommx_prefect._registry import names as registry
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from tests.support.reading import run_again, run_flow
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server")


def test_a_second_seal_gives_the_same_answer():
    @flow
    def one():
        note.map([1, 2])

    sealed = run_flow(one)
    first, second = seal(sealed.flow_run_id), seal(sealed.flow_run_id)
    assert first == second
    assert first.counts == {"finished": 2}
    assert first.manifest_digest == registry.find(first.image_name)


def test_the_same_shards_give_the_same_digest():
    @flow
    def one():
        for i in range(3):
            note(i)

    kept = {}

    def keep(stage_path):
        kept.update({p: p.read_bytes() for p in stage_path.rglob("*") if p.is_file()})

    original = LocalStage.discard
    LocalStage.discard = lambda self, keys: (keep(self.path), original(self, keys))[1]
    try:
        sealed = run_flow(one)
    finally:
        LocalStage.discard = original
    first = seal(sealed.flow_run_id)
    registry.drop_name(first.image_name)
    for path, data in kept.items():
        if path.name != "sealed.json":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (stage_root() / sealed.flow_run_id / "sealed.json").unlink()
    assert seal(sealed.flow_run_id).manifest_digest == first.manifest_digest


def test_a_flow_run_that_is_retried_later_keeps_one_experiment():
    outcome = {"fail": True}

    @flow(experiment="ghcr.io/acme/later:1")
    def one():
        current_experiment().log_json("log", {"fail": outcome["fail"]})
        note(1)
        if outcome["fail"]:
            raise ValueError("first")

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    failed = load_experiment(flow_run_id)
    assert failed.status == "failed"
    assert len(failed.runs) == 1

    outcome["fail"] = False
    run_again(one, flow_run_id)
    experiment = load_experiment(flow_run_id)
    assert experiment.image_name == "ghcr.io/acme/later:1"
    assert experiment.status == "finished"
    assert [run.status for run in experiment.runs] == ["finished", "finished"]
    assert experiment.run_parameters_df()["prefect.flow_attempt"].tolist() == [1, 2]
    assert experiment.get_json("log@1") == {"fail": True}
    names = [ref.requested_image_name for ref in list_experiment_checkpoints()]
    assert "ghcr.io/acme/later:1" not in names


def test_what_comes_after_the_seal_extends_the_experiment():
    @flow
    def one():
        note(1)

    sealed = run_flow(one)
    first = seal(sealed.flow_run_id)
    stage = LocalStage(sealed.flow_run_id)
    attempt = Attempt(
        sealed.flow_run_id, sealed.flow_run_id, 1, str(uuid.uuid4()), "late", "late-0", 1,
        "abc", time.time(), "elsewhere", 1,
    )  # fmt: skip
    stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    second = seal(sealed.flow_run_id)
    assert second.counts == {"finished": 2}
    assert second.image_name == first.image_name
    assert [run.attachment_names for run in load_experiment(sealed.flow_run_id).runs] == [
        ["output"],
        [],
    ]


def test_two_seals_at_once_agree():
    @flow
    def one():
        note.map(list(range(20)))

    sealed = run_flow(one)
    code = f"from ommx_prefect import seal; print(seal({sealed.flow_run_id!r}).manifest_digest)"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    digests = {process.communicate(timeout=240)[0].strip() for process in processes}
    assert digests == {seal(sealed.flow_run_id).manifest_digest}
