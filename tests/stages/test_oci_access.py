"""Who may use a stage in an OCI registry, and what a flow is told when it may not."""

from __future__ import annotations

import json
import signal
import time
import uuid

import httpx
import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from pydantic import SecretStr

from ommx_prefect import (
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._oci import transport
from ommx_prefect._stages.address import StageAddress, split_stage
from tests.support.images import Elsewhere, read_elsewhere, tags_of
from tests.support.registry_server import PASSWORD, USER, running_registry
from tests.support.stage_tasks import LARGE, one_night
from tests.support.token_server import IDENTITY_TOKEN, running_token_server

pytestmark = pytest.mark.usefixtures("server", "no_credentials", "brief_waits")


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
            one_night(stage, f"{name}:refused").state.result()

        sealed = one_night(f"{stage}?credentials=secret/{block}", f"{name}:block")
        assert sealed.ledger["flow_run"]["stage"] == f"{stage}?credentials=secret/{block}"
        assert sealed.statuses == ["finished"]
        assert PASSWORD not in json.dumps(sealed.ledger)

        login = f"{stage}?credentials=ommx-test-login/{block}"
        assert one_night(login, f"{name}:login").statuses == ["finished"]

        for part, value in {"DOMAIN": server.host, "USERNAME": USER, "PASSWORD": PASSWORD}.items():
            monkeypatch.setenv(f"OMMX_BASIC_AUTH_{part}", value)
        assert one_night(stage, f"{name}:environment").statuses == ["finished"]
        assert read_elsewhere(f"{name}:block", tmp_path) == Elsewhere("finished", [{"x": 1}])
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
        stage, name = f"oci://{server.host}/acme/shards", f"{server.host}/acme/night:one"
        sealed = one_night(stage, name, LARGE)
        assert seal(sealed.flow_run_id).composed_in
        assert sealed.statuses == ["finished"]
        mounting = {"repository:acme/night:pull,push", "repository:acme/shards:pull"}
        assert any(mounting <= set(scopes) for scopes in tokens.asked)
        assert ["repository:acme/shards:delete"] in tokens.asked


def test_a_block_without_user_and_password_is_refused_when_the_flow_starts(place):
    block = f"registry-{uuid.uuid4().hex[:8]}"
    Secret(value={"username": "alice", "token": "just-a-text"}).save(block)
    with pytest.raises(exceptions.StageError, match="has no username and password") as caught:
        one_night(f"{place.stage}?credentials=secret/{block}", None).state.result()
    assert "just-a-text" not in str(caught.value)
    with pytest.raises(exceptions.StageError, match="Save it first"):
        one_night(f"{place.stage}?credentials=secret/there-is-none", None).state.result()


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
    monkeypatch.setattr(transport, "BRIEF_TIMEOUT", httpx.Timeout(0.5))
    monkeypatch.setattr(transport, "TIMEOUT", httpx.Timeout(0.5))
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
