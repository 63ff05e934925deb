"""Stages in an OCI registry: what travels, and under which names.

The contract of every stage is in test_contract; here is what only a registry can do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import uuid

import prefect
import pytest
from ommx.experiment import Experiment
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import (
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._oci import names as oci_names
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._registry.blobs import blob_path, registry_root
from ommx_prefect._registry.names import find
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_manifests import name_of, tag_of
from tests.support.images import Elsewhere, read_elsewhere, tags_of
from tests.support.places import take_run_from
from tests.support.reading import run_again, run_flow, shown_of
from tests.support.registry_server import running_registry
from tests.support.stage_tasks import LARGE, lose_here, note

pytestmark = pytest.mark.usefixtures("server", "no_credentials", "brief_waits")

PAYLOAD_BYTES = 2_000_000

TAKEN_SECONDS = 240

GOT_BLOB = re.compile(r'"GET /v2/[^ ]*/blobs/(sha256:[0-9a-f]{64})[^"]*" 200 (\d+)')

REQUEST = re.compile(r'"([A-Z]+) /v2/[^ ]*/(blobs|manifests)/[^ ]* HTTP/1.1" 20')

SENT_BLOB = re.compile(r'"PUT /v2/[^ ]*/blobs/uploads/[^ ]*digest=sha256(?:%3A|:)([0-9a-f]{64})')


def _hex(digest):
    return digest.removeprefix("sha256:")


@task
def heavy(x):
    noise = os.urandom(PAYLOAD_BYTES)
    current_run().log_attachment("noise", "application/octet-stream", noise)
    current_run().log_parameter("registry", os.environ["OMMX_LOCAL_REGISTRY_ROOT"])
    return x


def test_no_payload_comes_to_the_host_that_seals(registry, tmp_path, monkeypatch):
    """It is mounted to the repository of the name; in the same one there is even less to do."""
    name = f"p{uuid.uuid4().hex[:8]}"
    worker = str(tmp_path / "worker")
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", worker)
    image_name = f"{registry.host}/{name}/night:one"

    @flow(
        stage=f"oci://{registry.host}/{name}/shards",
        experiment=image_name,
        aliases=["latest"],
        task_runner=ProcessPoolTaskRunner(max_workers=1),
    )
    def night():
        return [heavy.submit(x).result() for x in range(3)]

    before = len(registry.log)
    state = night(return_state=True)
    received = GOT_BLOB.findall(registry.log[before:])
    answer = seal(state.state_details.flow_run_id)
    assert answer.counts == {"finished": 3}
    assert (answer.pushed, answer.composed_in) == (True, f"oci://{registry.host}/{name}/shards")

    with Repository(registry.host, f"{name}/night") as there:
        manifest = json.loads(there.get_manifest("latest"))
    payload = {x["digest"]: x["size"] for x in manifest["layers"]}
    assert sum(payload.values()) > 3 * PAYLOAD_BYTES
    # Shards, and the documents that were read back; never the noise, nor an output.
    assert sum(int(size) for _, size in received) < 50_000
    noise = {digest for digest, size in payload.items() if size >= PAYLOAD_BYTES}
    assert len(noise) == 3
    assert not noise & {digest for digest, _ in received}
    assert not any(blob_path(digest).exists() for digest in noise)
    # Nor was any of it sent twice: the worker pushed each once.
    pushed = SENT_BLOB.findall(registry.log[before:])
    assert sorted(set(pushed) & set(map(_hex, noise))) == sorted(map(_hex, noise))
    assert len(pushed) == len(set(pushed))
    assert find(image_name) is None
    shown = shown_of(str(state.state_details.flow_run_id))
    assert "- **Registry**: composed there\n" in shown["ommx-experiment"]
    assert [row["task"] for row in json.loads(shown["ommx-runs"])] == ["heavy"] * 3

    assert read_elsewhere(image_name, tmp_path) == Elsewhere("finished", [0, 1, 2])
    experiment = load_experiment(state.state_details.flow_run_id)
    assert experiment.run_parameters_df()["registry"].tolist() == [worker] * 3
    assert find(image_name) == answer.manifest_digest


def test_a_registry_that_mounts_nothing_gets_the_payload_through_this_host(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr(Repository, "mount_blob", lambda *_: False)

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(LARGE)
        lose_here(place)

    sealed = run_flow(night)
    assert seal(sealed.flow_run_id).composed_in == place.stage
    assert read_elsewhere(place.experiment, tmp_path) == Elsewhere("finished", [{"x": LARGE}])
    assert not (LocalStage(sealed.flow_run_id).path / "blobs").exists()


def test_a_name_in_another_registry_is_sealed_here_and_pushed_as_ever(place, tmp_path):
    with running_registry(tmp_path / "other") as other:
        name = f"{other.host}/acme/night:one"

        @flow(stage=place.stage, experiment=name, push=True)
        def night():
            note(1)

        sealed = run_flow(night)
        answer = seal(sealed.flow_run_id)
        assert (answer.composed_in, answer.pushed) == ("", True)
        assert find(name) == answer.manifest_digest
        assert read_elsewhere(name, tmp_path) == Elsewhere("finished", [{"x": 1}])
        assert place.objects(sealed.flow_run_id) == {}


def test_a_failed_flow_run_is_a_checkpoint_here_and_its_retry_is_composed_there(place, tmp_path):
    tries = []

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(len(tries))
        lose_here(place)
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("first")

    sealed = run_flow(night)
    answer = seal(sealed.flow_run_id)
    assert (answer.status, answer.pushed, answer.composed_in) == ("failed", None, "")
    restored = Experiment.restore_from_checkpoint(place.experiment)
    assert restored.run_parameters_df()["prefect.task"].tolist() == ["note"]
    assert [run.get_json("output") for run in sealed.runs] == [{"x": 0}]

    run_again(night, sealed.flow_run_id)
    answer = seal(sealed.flow_run_id)
    assert (answer.status, answer.composed_in) == ("finished", place.stage)
    assert read_elsewhere(place.experiment, tmp_path) == Elsewhere("finished", [{"x": 0}, {"x": 1}])
    assert place.objects(sealed.flow_run_id) == {}


def test_an_experiment_too_large_for_a_registry_is_sealed_here(place, monkeypatch, caplog):
    @flow(stage=place.stage, experiment=place.experiment, push=True)
    def night():
        for x in range(12):
            note(x)
        monkeypatch.setattr(oci_names, "MOST_MANIFEST_BYTES", 2_000)

    sealed = run_flow(night)
    answer = seal(sealed.flow_run_id)
    assert (answer.composed_in, answer.pushed) == ("", False)
    assert "OCI registries take 2,000" in answer.push_problem
    assert "sealed in the Local Registry instead" in caplog.text
    assert [run.get_json("output")["x"] for run in sealed.runs] == list(range(12))


def test_a_name_that_stands_in_the_registry_is_refused_or_made_another(place):
    def run_night(name, **options):
        @flow(stage=place.stage, experiment=name, **options)
        def night():
            note(1)

        return run_flow(night)

    run_night(place.experiment)
    with pytest.raises(exceptions.ImageNameTakenError, match=f"stands in {place.server.host}"):
        run_night(place.experiment).state.result()
    moved = run_night(place.experiment, replace=True)
    assert seal(moved.flow_run_id).image_name == place.experiment
    assert tags_of(place.experiment) == ["one"]


def test_what_comes_after_the_seal_extends_the_experiment_there(place, tmp_path):
    kept = {}

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        current_experiment().log_json("plan", [1])
        note(1)
        # No task run: Prefect would tell of one whose record is missing.
        with current_experiment().run() as run:
            run.log_json("output", {"x": 2})
        kept.update(take_run_from(place, str(prefect.runtime.flow_run.id)))

    sealed = run_flow(night)
    first = seal(sealed.flow_run_id)
    assert first.counts == {"finished": 1}
    assert len(load_experiment(sealed.flow_run_id).runs) == 1
    for name, data in kept.items():
        place.put(name, data)
    second = seal(sealed.flow_run_id)
    assert second.counts == {"finished": 2}
    assert second.image_name == first.image_name
    # What was pulled here before is not taken for it.
    experiment = load_experiment(sealed.flow_run_id)
    assert sorted(run.get_json("output")["x"] for run in experiment.runs) == [1, 2]
    assert experiment.get_json("plan") == [1]
    assert read_elsewhere(place.experiment, tmp_path).status == "finished"
    assert place.objects(sealed.flow_run_id) == {}


def test_tags_say_which_record_they_are():
    name = "00000000-0000-0000-0000-000000000000/rolled-back/1-2"
    assert tag_of(name) == "00000000-0000-0000-0000-000000000000_rolled-back_1-2"
    assert name_of(tag_of(name)) == name
    for wrong in ("a/b_c", "a b", "x" * 129, "", ".hidden"):
        with pytest.raises(exceptions.DocumentError, match="cannot be the name"):
            tag_of(wrong)


def test_records_are_small_requests(place):
    """A start is one manifest, and so is a shard with its payload in it."""

    @flow(stage=place.stage)
    def night():
        note(1)
        before = len(place.server.log)
        note(2)
        return place.objects(prefect.runtime.flow_run.id), place.server.log[before:]

    objects, log = run_flow(night).state.result()
    asked = REQUEST.findall(log.partition("GET /v2/")[0])
    assert [" ".join(each) for each in asked] == [
        "PUT manifests",
        "PUT manifests",
    ]
    shard = next(json.loads(data) for name, data in objects.items() if "/shards/" in name)
    assert shard["config"]["digest"] == digest_of(b"{}")
    start = next(data for name, data in objects.items() if "/starts/" in name)
    document = json.loads(start)
    assert document["config"]["digest"] == digest_of(b"{}")
    assert [layer["digest"] for layer in document["layers"]] == [digest_of(b"{}")]
    attempt = json.loads(document["annotations"]["org.ommx-prefect.document"])
    assert attempt["task"] == "note"
    assert hashlib.sha256(start).hexdigest() not in {p.name for p in registry_root().rglob("*")}
