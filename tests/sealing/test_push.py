"""Pushing: what is sealed reaches its registry, and a push that fails loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
import uuid

import prefect
import pytest
from ommx.experiment import Experiment

from ommx_prefect import current_experiment, exceptions, flow, seal, seal_hooks, task
from ommx_prefect._oci import transport
from ommx_prefect._oci.names import MOST_MANIFEST_BYTES, digest_of
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._registry.files import write_whole
from ommx_prefect._registry.names import find
from ommx_prefect._sealing.push import push_image
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._stages.local import LocalStage
from tests.support.images import Elsewhere, read_elsewhere, tags_of
from tests.support.reading import Sealed, run_flow, shown_of
from tests.support.registry_server import PASSWORD, USER, RegistryServer, running_registry

pytestmark = pytest.mark.usefixtures("server", "no_credentials", "_brief_waits")

NIGHT = """
import sys
from prefect.runtime import flow_run
from ommx_prefect import current_experiment, flow, task

@task
def double(x):
    return {"twice": 2 * x}

@flow(experiment=sys.argv[1], push=True)
def night():
    current_experiment().log_json("note", "of the flow")
    double(1)
    double(2)
    print(flow_run.id, flush=True)

night()
"""


@pytest.fixture
def _brief_waits(monkeypatch):
    for name, value in {"attempts": 3, "wait_initial": 0.05, "wait_jitter": 0.05}.items():
        monkeypatch.setitem(transport.RETRY, name, value)


def name_in(registry: RegistryServer) -> str:
    return f"{registry.host}/acme/night-{uuid.uuid4().hex[:8]}:one"


@task
def double(x):
    return {"twice": 2 * x}


def run_night(name: str, **options) -> Sealed:
    @flow(experiment=name, push=True, **options)
    def night():
        current_experiment().log_json("note", "of the flow")
        double(1)
        double(2)

    return run_flow(night)


WHOLE = Elsewhere("finished", [{"twice": 2}, {"twice": 4}], "of the flow")


def test_a_pushed_experiment_and_its_alias_open_on_another_machine(registry, tmp_path):
    name = name_in(registry)
    sealed = run_night(name, aliases=["latest"])
    assert seal(sealed.flow_run_id).pushed is True
    assert tags_of(name) == ["latest", "one"]
    assert read_elsewhere(name, tmp_path) == WHOLE
    assert read_elsewhere(name.replace(":one", ":latest"), tmp_path) == WHOLE
    assert "- **Registry**: pushed\n" in shown_of(sealed.flow_run_id)["ommx-experiment"]


def test_without_push_nothing_leaves_this_machine(registry):
    name = name_in(registry)

    @flow(experiment=name)
    def night():
        double(1)

    sealed = run_flow(night)
    assert seal(sealed.flow_run_id).pushed is None
    assert tags_of(name) == []
    assert "Registry | pushed" not in shown_of(sealed.flow_run_id)["ommx-experiment"]


def test_seal_hooks_push_too(registry):
    name = name_in(registry)

    @prefect.flow(**seal_hooks(name, push=True))
    def night():
        double(1)

    assert seal(run_flow(night).flow_run_id).pushed is True
    assert tags_of(name) == ["one"]


def test_a_registry_that_is_down_loses_nothing_and_seal_pushes_later(tmp_path, caplog):
    with running_registry(tmp_path / "r") as server:
        name = name_in(server)
        server.stop()
        with caplog.at_level("WARNING"):
            sealed = run_night(name, aliases=["latest"])
        assert sealed.state.is_completed()
        assert Experiment.load(name).status == "finished"  # of the Local Registry
        shown = shown_of(sealed.flow_run_id)["ommx-experiment"]
        assert "**not pushed**" in shown
        assert "RegistryUnavailableError" in shown
        assert f"seal('{sealed.flow_run_id}')" in shown
        assert f"{name} is sealed here, but not pushed" in caplog.text

        down = seal(sealed.flow_run_id)
        assert down.pushed is False
        assert server.host in down.push_problem

        server.start()
        back = seal(sealed.flow_run_id)
        assert (back.pushed, back.push_problem) == (True, "")
        assert back.manifest_digest == down.manifest_digest == find(name)
        assert tags_of(name) == ["latest", "one"]
        assert read_elsewhere(name, tmp_path) == WHOLE
        assert "- **Registry**: pushed\n" in shown_of(sealed.flow_run_id)["ommx-experiment"]

        requests = server.log.count("PUT")
        assert seal(sealed.flow_run_id) == back
        assert server.log.count("PUT") == requests


def test_a_wrong_password_is_shown_as_such_and_the_right_one_mends_it(tmp_path, monkeypatch):
    wrong = "wrong-password-that-nobody-may-see"
    with running_registry(tmp_path / "r", password=PASSWORD) as server:
        monkeypatch.setenv("OMMX_BASIC_AUTH_DOMAIN", server.host)
        monkeypatch.setenv("OMMX_BASIC_AUTH_USERNAME", USER)
        monkeypatch.setenv("OMMX_BASIC_AUTH_PASSWORD", wrong)
        name = name_in(server)
        sealed = run_night(name)
        answer = seal(sealed.flow_run_id)
        assert answer.pushed is False
        assert "RegistryAuthError" in answer.push_problem
        assert wrong not in answer.push_problem + shown_of(sealed.flow_run_id)["ommx-experiment"]

        monkeypatch.setenv("OMMX_BASIC_AUTH_PASSWORD", PASSWORD)
        assert seal(sealed.flow_run_id).pushed is True
        assert read_elsewhere(name, tmp_path) == WHOLE


def test_a_night_that_failed_reaches_people_under_a_tag_that_says_so(registry, tmp_path, caplog):
    name = name_in(registry)

    @flow(experiment=name, push=True, aliases=["latest"])
    def night():
        double(1)
        raise ValueError("no")

    with caplog.at_level("INFO", "prefect.flow_runs"):
        sealed = run_flow(night)
    answer = seal(sealed.flow_run_id)
    assert (answer.status, answer.pushed) == ("failed", True)
    assert tags_of(name) == ["one-failed"]
    assert find(name) is None
    found = read_elsewhere(f"{name}-failed", tmp_path)
    assert (found.status, found.outputs) == ("failed", [{"twice": 2}])
    shown = shown_of(sealed.flow_run_id)["ommx-experiment"]
    assert f"- **Registry**: pushed as `{name}-failed`\n" in shown
    assert f'Open it: Experiment.load("{name}-failed")' in caplog.text


def test_a_process_killed_in_its_push_is_made_good_by_the_next_seal(tmp_path):
    with running_registry(tmp_path / "r") as server:
        name = name_in(server)
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)  # it takes connections, and says nothing
        command = [sys.executable, "-c", textwrap.dedent(NIGHT), name]
        night = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert night.stdout is not None
        flow_run_id = night.stdout.readline().strip()
        stage = LocalStage(flow_run_id)
        deadline = time.monotonic() + 240
        while not stage.has("sealed.json") and time.monotonic() < deadline:
            time.sleep(0.05)
        night.kill()
        night.wait(240)
        night.stdout.close()
        server.process.send_signal(signal.SIGCONT)

        document = stage.read("sealed.json")
        assert document is not None
        assert document["pushed"] is None
        assert find(name) == document["manifest_digest"]
        answer = seal(flow_run_id)
        assert (answer.pushed, answer.manifest_digest) == (True, document["manifest_digest"])
        assert read_elsewhere(name, tmp_path) == WHOLE


def test_records_of_a_release_without_push_are_read(registry):
    @flow(experiment=name_in(registry))
    def night():
        double(1)

    sealed = run_flow(night)
    stage = LocalStage(sealed.flow_run_id)
    for record, fields in (("sealed.json", ["pushed", "push_problem"]), ("flow.json", ["push"])):
        document = stage.read(record)
        assert document is not None
        stage.write(record, {k: v for k, v in document.items() if k not in fields})
    answer = seal(sealed.flow_run_id)
    assert isinstance(answer, SealedExperiment)
    assert answer.pushed is None


def test_push_without_a_name_is_refused_at_once():
    with pytest.raises(exceptions.InvalidImageNameError, match="push=True"):
        flow(push=True)(lambda: None)
    with pytest.raises(exceptions.InvalidImageNameError, match="push=True"):
        seal_hooks(push=True)


def test_an_anonymous_name_is_not_pushed():
    def night():
        double(1)

    sealed = run_flow(flow(night))
    answer = seal(sealed.flow_run_id)
    with pytest.raises(exceptions.LocalNameError, match="this machine"):
        push_image(answer.image_name, answer.manifest_digest)


def test_a_manifest_beyond_the_limit_is_refused_before_a_byte_is_sent(registry):
    name = name_in(registry)
    digest = find(run_night(name).experiment.image_name)
    assert digest is not None
    manifest = json.loads(blob_path(digest).read_bytes())
    layer = manifest["layers"][0]
    count = 2 * MOST_MANIFEST_BYTES // len(json.dumps(layer))
    large = json.dumps({**manifest, "layers": [layer] * count}).encode()
    write_whole(blob_path(digest_of(large)), large)
    before = registry.log
    with pytest.raises(exceptions.ManifestTooLargeError, match=f"{count:,} layers"):
        push_image(name.replace("acme", "large"), digest_of(large))
    assert registry.log == before
