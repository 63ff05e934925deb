"""Stages in an OCI registry: what travels, who may, and what a seal there does not believe.

The contract of every stage is in test_stage_contract; here is what only a registry can do.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid

import httpx
import prefect
import pytest
from ommx.experiment import Experiment
from places import RegistryPlace
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.flow_engine import run_flow as run_again
from prefect.states import AwaitingRetry
from prefect.task_runners import ProcessPoolTaskRunner
from pydantic import SecretStr
from reading import run_flow
from registry_server import USER, running_registry
from token_server import running_token_server

from ommx_prefect import (
    _oci_http,
    _oci_names,
    _oci_remote,
    _publication,
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._oci import Repository
from ommx_prefect._oci_names import StageAddress, digest_of, split_stage
from ommx_prefect._oci_records import RECORD_TYPE, TOMBSTONE_TYPE, name_of, tag_of
from ommx_prefect._registry import blob_path, find, registry_root
from ommx_prefect._registry_home import RegistryHome
from ommx_prefect._stage import LocalStage

pytestmark = pytest.mark.usefixtures("server", "_this_test_alone")

PASSWORD = "correct-horse-battery"
IDENTITY_TOKEN = "identity-token-of-alice"
PAYLOAD_BYTES = 2_000_000
TAKEN_SECONDS = 120
GOT_BLOB = re.compile(r'"GET /v2/[^ ]*/blobs/(sha256:[0-9a-f]{64})[^"]*" 200 (\d+)')
SENT_BLOB = re.compile(r'"PUT /v2/[^ ]*/blobs/uploads/[^ ]*digest=sha256(?:%3A|:)([0-9a-f]{64})')
READ_ELSEWHERE = """
import json, sys
from ommx.experiment import Experiment
found = Experiment.load(sys.argv[1])
outputs = [run.get_json("output") for run in found.runs]
print(json.dumps([found.status, outputs]))
"""


@pytest.fixture
def _this_test_alone(monkeypatch, tmp_path):
    registry_root()  # of this process, whatever its workers are told
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOMAIN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"OMMX_BASIC_AUTH_{name}", raising=False)
    for table in (_oci_http.RETRY, _oci_http.BRIEF_RETRY):
        for name, value in {"attempts": 2, "wait_initial": 0.05, "wait_jitter": 0.05}.items():
            monkeypatch.setitem(table, name, value)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def place(registry):
    """A stage, and an image name in another repository of its registry."""
    name = f"p{uuid.uuid4().hex[:8]}"
    return RegistryPlace(registry, f"{name}/shards", f"{registry.host}/{name}/night:one")


def read_elsewhere(name, tmp_path):
    """Open an image with plain ommx in a process whose own Local Registry is empty."""
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / f"third-{uuid.uuid4().hex}")}
    command = [sys.executable, "-c", READ_ELSEWHERE, name]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TAKEN_SECONDS)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def tags_of(name):
    host, _, rest = name.partition("/")
    with Repository(host, rest.rpartition(":")[0]) as repository:
        return repository.tags()


def _hex(digest):
    return digest.removeprefix("sha256:")


def shown_of(flow_run_id):
    """What the flow run's page shows, by key."""
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, limit=20)
    return {artifact.key: str(artifact.data) for artifact in found}


@task
def note(x):
    return {"x": x}


@task
def heavy(x):
    noise = os.urandom(PAYLOAD_BYTES)
    current_run().log_attachment("noise", "application/octet-stream", noise)
    current_run().log_parameter("registry", os.environ["OMMX_LOCAL_REGISTRY_ROOT"])
    return x


def _lose_here(place):
    """Remove the payload of all shards from this host, as if they came from another one."""
    objects = place.objects(prefect.runtime.flow_run.id)
    shards = [json.loads(data) for name, data in objects.items() if "/shards/" in name]
    digests = {layer["digest"] for shard in shards for layer in shard["layers"]}
    lost = {digest: blob_path(digest).read_bytes() for digest in digests}
    for digest in digests:
        blob_path(digest).unlink()
    return lost


# ---------------------------------------------------------------- what travels


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
    shown = shown_of(state.state_details.flow_run_id)
    assert "| Registry | composed there |" in shown["ommx-experiment"]
    assert [row["task"] for row in json.loads(shown["ommx-runs"])] == ["heavy"] * 3

    assert read_elsewhere(image_name, tmp_path) == ["finished", [0, 1, 2]]
    experiment = load_experiment(state.state_details.flow_run_id)
    assert experiment.run_parameters_df()["registry"].tolist() == [worker] * 3
    assert find(image_name) == answer.manifest_digest


def test_a_registry_that_mounts_nothing_gets_the_payload_through_this_host(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr(Repository, "mount_blob", lambda *_: False)

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(1)
        _lose_here(place)

    sealed = run_flow(night)
    assert seal(sealed.flow_run_id).composed_in == place.stage
    assert read_elsewhere(place.experiment, tmp_path) == ["finished", [{"x": 1}]]
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
        assert read_elsewhere(name, tmp_path) == ["finished", [{"x": 1}]]
        assert place.objects(sealed.flow_run_id) == {}


def test_a_failed_flow_run_is_a_checkpoint_here_and_its_retry_is_composed_there(place, tmp_path):
    tries = []

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(len(tries))
        _lose_here(place)
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("first")

    sealed = run_flow(night)
    answer = seal(sealed.flow_run_id)
    assert (answer.status, answer.pushed, answer.composed_in) == ("failed", None, "")
    restored = Experiment.restore_from_checkpoint(place.experiment)
    assert restored.run_parameters_df()["prefect.task"].tolist() == ["note"]
    assert [run.get_json("output") for run in sealed.runs] == [{"x": 0}]

    with get_client(sync_client=True) as client:
        flow_run_id = uuid.UUID(sealed.flow_run_id)
        client.set_flow_run_state(flow_run_id, AwaitingRetry(), force=True)
        flow_run = client.read_flow_run(flow_run_id)
    run_again(night, flow_run=flow_run)
    answer = seal(sealed.flow_run_id)
    assert (answer.status, answer.composed_in) == ("finished", place.stage)
    assert read_elsewhere(place.experiment, tmp_path) == ["finished", [{"x": 0}, {"x": 1}]]
    assert place.objects(sealed.flow_run_id) == {}


def test_an_experiment_too_large_for_a_registry_is_sealed_here(place, monkeypatch, caplog):
    @flow(stage=place.stage, experiment=place.experiment, push=True)
    def night():
        for x in range(12):
            note(x)
        monkeypatch.setattr(_oci_names, "MOST_MANIFEST_BYTES", 2_000)

    sealed = run_flow(night)
    answer = seal(sealed.flow_run_id)
    assert (answer.composed_in, answer.pushed) == ("", False)
    assert "OCI registries take 2,000" in answer.push_problem
    assert "sealed in the Local Registry instead" in caplog.text
    assert [run.get_json("output")["x"] for run in sealed.runs] == list(range(12))


# ---------------------------------------------------------------- names


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
        objects = place.objects(prefect.runtime.flow_run.id)
        name = next(name for name in objects if "/shards/run-" in name)
        kept[name] = objects[name]
        place.delete(name)
        place.delete(name.replace("/shards/", "/starts/"))

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
    assert read_elsewhere(place.experiment, tmp_path)[0] == "finished"
    assert place.objects(sealed.flow_run_id) == {}


# ---------------------------------------------------------------- who may


def _one_night(stage, name):
    @flow(stage=stage, experiment=name)
    def night():
        note(1)

    return run_flow(night)


class Login(Block):
    """What prefect-docker's DockerRegistryCredentials has, too."""

    _block_type_slug = "ommx-test-login"

    username: str
    password: SecretStr


def test_a_password_of_the_environment_or_of_a_block_opens_the_registry(tmp_path, monkeypatch):
    block = f"registry-{uuid.uuid4().hex[:8]}"
    Secret(value=json.dumps({"username": USER, "password": PASSWORD})).save(block)
    Login(username=USER, password=SecretStr(PASSWORD)).save(block)
    with running_registry(tmp_path / "r", password=PASSWORD) as server:
        stage, name = f"oci://{server.host}/acme/shards", f"{server.host}/acme/night"
        with pytest.raises(exceptions.StageError, match="OMMX_BASIC_AUTH_DOMAIN"):
            _one_night(stage, f"{name}:refused").state.result()

        sealed = _one_night(f"{stage}?credentials=secret/{block}", f"{name}:block")
        assert sealed.ledger["flow_run"]["stage"] == f"{stage}?credentials=secret/{block}"
        assert sealed.statuses == ["finished"]
        assert PASSWORD not in json.dumps(sealed.ledger)

        login = f"{stage}?credentials=ommx-test-login/{block}"
        assert _one_night(login, f"{name}:login").statuses == ["finished"]

        for part, value in {"DOMAIN": server.host, "USERNAME": USER, "PASSWORD": PASSWORD}.items():
            monkeypatch.setenv(f"OMMX_BASIC_AUTH_{part}", value)
        assert _one_night(stage, f"{name}:environment").statuses == ["finished"]
        assert read_elsewhere(f"{name}:block", tmp_path) == ["finished", [{"x": 1}]]
        assert tags_of(f"{name}:any") == ["block", "environment", "login"]
        assert tags_of(f"{server.host}/acme/shards:any") == []


def test_a_bearer_token_and_the_docker_config_open_it_too(tmp_path):
    with (
        running_token_server(tmp_path / "tokens", USER, PASSWORD, IDENTITY_TOKEN) as tokens,
        running_registry(tmp_path / "r", auth=tokens.auth) as server,
    ):
        (tmp_path / "docker").mkdir()
        config = {"auths": {server.host: {"username": USER, "password": PASSWORD}}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(config))
        sealed = _one_night(f"oci://{server.host}/acme/shards", f"{server.host}/acme/night:one")
        assert seal(sealed.flow_run_id).composed_in
        assert sealed.statuses == ["finished"]
        mounting = {"repository:acme/night:pull,push", "repository:acme/shards:pull"}
        assert any(mounting <= set(scopes) for scopes in tokens.asked)
        assert ["repository:acme/shards:delete"] in tokens.asked


def test_a_block_without_user_and_password_is_refused_when_the_flow_starts(place):
    block = f"registry-{uuid.uuid4().hex[:8]}"
    Secret(value={"username": "alice", "token": "just-a-text"}).save(block)
    with pytest.raises(exceptions.StageError, match="has no username and password") as caught:
        _one_night(f"{place.stage}?credentials=secret/{block}", None).state.result()
    assert "just-a-text" not in str(caught.value)
    with pytest.raises(exceptions.StageError, match="Save it first"):
        _one_night(f"{place.stage}?credentials=secret/there-is-none", None).state.result()


def test_a_registry_that_does_not_answer_is_refused_when_the_flow_starts(place):
    ran = []

    @flow(stage=place.stage)
    def night():
        ran.append(1)

    place.go_away()
    try:
        with pytest.raises(exceptions.StageError, match="Check that it runs") as caught:
            night()
    finally:
        place.come_back()
    assert ran == []
    assert f"stage='{place.stage}' cannot be used" in str(caught.value)


def test_a_registry_that_hangs_holds_no_task_for_long_and_loses_nothing(place, monkeypatch):
    monkeypatch.setattr(_oci_http, "BRIEF_TIMEOUT", httpx.Timeout(0.5))
    monkeypatch.setattr(_oci_http, "TIMEOUT", httpx.Timeout(0.5))
    taken = []

    @task
    def during():
        place.server.process.send_signal(signal.SIGSTOP)
        taken.append(time.monotonic())
        return {"x": 1}

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        during()
        taken.append(time.monotonic())

    try:
        state = night(return_state=True)
    finally:
        place.server.process.send_signal(signal.SIGCONT)
    assert state.is_completed()
    assert taken[1] - taken[0] < 10
    answer = seal(state.state_details.flow_run_id)
    assert (answer.counts, answer.composed_in) == ({"finished": 1}, place.stage)
    assert load_experiment(answer.flow_run_id).runs[0].get_json("output") == {"x": 1}


@pytest.mark.parametrize(
    "stage",
    [
        "oci://",
        "oci://ghcr.io",
        "oci://ghcr.io/acme/shards:tag",
        f"oci://ghcr.io/acme/shards@sha256:{'0' * 64}",
        "oci://ghcr.io/Acme/shards",
        "oci://alice:secret@ghcr.io/acme/shards",
        "oci://ghcr.io/acme/shards?credentials=ghcr",
        "oci://ghcr.io/acme//shards",
    ],
)
def test_an_address_that_is_none_is_refused_at_once(stage):
    with pytest.raises(exceptions.StageError, match="oci://registry/repository"):
        flow(stage=stage)(print)


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ("oci://ghcr.io/acme/shards", ("ghcr.io", "acme/shards", "")),
        ("oci://127.0.0.1:5000/a", ("127.0.0.1:5000", "a", "")),
        ("oci://[::1]:5000/a_b/c-d", ("[::1]:5000", "a_b/c-d", "")),
        ("oci://r.io/a?credentials=secret/ghcr", ("r.io", "a", "secret/ghcr")),
    ],
)
def test_an_address_has_its_parts(stage, parts):
    assert split_stage(stage) == StageAddress(*parts)


# ---------------------------------------------------------------- a registry that keeps or loses


def test_a_registry_that_deletes_nothing_is_told_once_and_sealed_once(tmp_path, caplog):
    with running_registry(tmp_path / "r", allow_delete=False) as server:
        place = RegistryPlace(server, "acme/shards", f"{server.host}/acme/night:one")
        sealed = _one_night(place.stage, place.experiment)
        assert place.objects(sealed.flow_run_id)
        first = seal(sealed.flow_run_id)
        assert first.counts == {"finished": 1}
        requests = server.log.count("PUT")
        assert seal(sealed.flow_run_id) == first
        assert server.log.count("PUT") == requests
        # Another host, which finds all records there, finds what was made of them, too.
        shutil.rmtree(LocalStage(sealed.flow_run_id).path)
        assert seal(sealed.flow_run_id, stage=place.stage) == first
        assert tags_of(place.experiment) == ["one"]
        assert caplog.text.count("does not let anybody delete") == 1
        assert read_elsewhere(place.experiment, tmp_path) == ["finished", [{"x": 1}]]
        _oci_remote._keepers.clear()


def test_a_payload_that_the_registry_lost_stops_the_seal_by_name(place, tmp_path):
    """Composed in the stage's own repository."""
    repository = place.stage.removeprefix(f"oci://{place.server.host}/")

    @flow(stage=place.stage, experiment=f"{place.server.host}/{repository}:one")
    def night():
        note(1)
        lost = _lose_here(place)
        for digest in lost:
            place._ask("DELETE", f"blobs/{digest}")
        return lost

    state = night(return_state=True)
    flow_run_id = state.state_details.flow_run_id
    ((digest, data),) = state.result().items()
    with pytest.raises(exceptions.SealError, match=digest):
        seal(flow_run_id)
    assert any("/shards/" in name for name in place.objects(str(flow_run_id)))
    with Repository(place.server.host, repository) as there:
        there.push_blob(data, digest)
    assert seal(flow_run_id).counts == {"finished": 1}
    assert load_experiment(flow_run_id).runs[0].get_json("output") == {"x": 1}
    assert read_elsewhere(f"{place.server.host}/{repository}:one", tmp_path)[0] == "finished"


def _changed(manifest, change):
    document = json.loads(manifest)
    change(document)
    return json.dumps(document).encode()


def _foreign_config(document):
    document["config"] = document["layers"][0]


# What was done to the manifest of a shard -> what the refusal says.
DAMAGE = {
    "another artifact": (lambda d: d.update(artifactType="application/x"), "is neither"),
    "the name of another": (
        lambda d: d["annotations"].update({"org.ommx-prefect.object": "other"}),
        "it is the record of other",
    ),
    "no name": (lambda d: d.pop("annotations"), "it is no record"),
    "a lost layer": (lambda d: d["layers"].pop(), "disagree about the payload"),
    "a config that is no shard": (_foreign_config, "not a shard"),
    "a record in its place": (lambda d: d.update(artifactType=RECORD_TYPE), "not a shard"),
}


def test_a_manifest_that_is_not_the_shard_is_refused_by_name(place):
    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(1)
        objects = place.objects(prefect.runtime.flow_run.id)
        name = next(name for name in objects if "/shards/" in name)
        place.put(name, _changed(objects[name], DAMAGE["no name"][0]))
        return name, objects[name]

    state = night(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    name, manifest = state.result()
    for change, said in DAMAGE.values():
        place.put(name, _changed(manifest, change))
        with pytest.raises(exceptions.SealError, match=said) as caught:
            seal(flow_run_id)
        assert f"{name} in stage '{place.stage}' is refused" in str(caught.value)
    place.put(name, manifest)
    assert seal(flow_run_id).counts == {"finished": 1}


# ---------------------------------------------------------------- a seal that is cut off


class Cut(BaseException):
    """The process ends here."""


# What is done in this order -> whether the seal is cut off before it or after.
STEPS = {
    "payload": (RegistryHome, "_supply", "before"),
    "documents": (RegistryHome, "_push", "before"),
    "intent": (_publication, "_publish", "before"),
    "names": (RegistryHome, "publish", "before"),
    "answer": (_publication, "write_sealed", "before"),
    "let go": (LocalStage, "discard", "before"),
    "let go and": (LocalStage, "discard", "after"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_seal_that_is_cut_off_is_finished_by_the_next(place, monkeypatch, step):
    owner, name, when = STEPS[step]

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(1)
        note(2)

    original = getattr(owner, name)

    cuts = []

    def cut(*args, **kwargs):
        if when == "after":
            original(*args, **kwargs)
        cuts.append(step)
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, cut)
        flow_run_id = night(return_state=True).state_details.flow_run_id
    assert cuts
    answer = seal(flow_run_id)
    assert answer.counts == {"finished": 2}
    assert tags_of(place.experiment) == ["one"]
    outputs = [run.get_json("output")["x"] for run in load_experiment(flow_run_id).runs]
    assert outputs == [1, 2]
    assert seal(flow_run_id) == answer
    assert place.objects(str(flow_run_id)) == {}


def test_a_removal_that_is_cut_off_disturbs_no_later_seal(place, monkeypatch):
    """Its tags are left on a tombstone, which is no record of anything."""
    deleted = []
    delete = Repository.delete_manifest

    def cut(self, digest):
        if deleted:
            raise Cut
        deleted.append(digest)
        return delete(self, digest)

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        current_experiment().log_json("plan", [1])
        note(1)

    with monkeypatch.context() as patched:
        patched.setattr(Repository, "delete_manifest", cut)
        flow_run_id = night(return_state=True).state_details.flow_run_id
    left = place.objects(str(flow_run_id))
    assert {json.loads(data)["artifactType"] for data in left.values()} == {TOMBSTONE_TYPE}
    answer = seal(flow_run_id)
    assert answer.counts == {"finished": 1}
    assert place.objects(str(flow_run_id)) == {}


# ---------------------------------------------------------------- names of records


def test_tags_say_which_record_they_are():
    name = "00000000-0000-0000-0000-000000000000/rolled-back/1-2"
    assert tag_of(name) == "00000000-0000-0000-0000-000000000000_rolled-back_1-2"
    assert name_of(tag_of(name)) == name
    for wrong in ("a/b_c", "a b", "x" * 129, "", ".hidden"):
        with pytest.raises(exceptions.DocumentError, match="cannot be the name"):
            tag_of(wrong)


def test_records_are_small_requests(place):
    """A start is one manifest, and has no blob of its own."""

    @flow(stage=place.stage)
    def night():
        note(1)
        return place.objects(prefect.runtime.flow_run.id)

    objects = run_flow(night).state.result()
    start = next(data for name, data in objects.items() if "/starts/" in name)
    document = json.loads(start)
    assert document["config"]["digest"] == digest_of(b"{}")
    assert [layer["digest"] for layer in document["layers"]] == [digest_of(b"{}")]
    attempt = json.loads(document["annotations"]["org.ommx-prefect.document"])
    assert attempt["task"] == "note"
    assert hashlib.sha256(start).hexdigest() not in {p.name for p in registry_root().rglob("*")}
