"""Credentials and bearer tokens: found where docker and OMMX keep them, sent where they belong."""

from __future__ import annotations

import base64
import json
import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ommx_prefect import exceptions
from ommx_prefect._oci.credentials import Credentials, find_credentials
from ommx_prefect._oci.names import (
    digest_of,
)
from ommx_prefect._oci.repository import Repository
from tests.support.images import push_image
from tests.support.registry_server import PASSWORD, USER, RegistryServer, running_registry
from tests.support.scripted_server import Handler, answering
from tests.support.token_server import IDENTITY_TOKEN, TokenServer, running_token_server

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Iterator[RegistryServer]:
    folder = tmp_path_factory.mktemp("locked")
    with running_registry(folder, password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(tmp_path_factory) -> Iterator[tuple[RegistryServer, TokenServer]]:
    folder = tmp_path_factory.mktemp("tokens")
    with (
        running_token_server(folder / "tokens", USER, PASSWORD, IDENTITY_TOKEN) as server,
        running_registry(folder / "registry", auth=server.auth) as registry,
    ):
        yield registry, server


def docker_config(document: dict[str, object]) -> None:
    folder = Path(os.environ["DOCKER_CONFIG"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))


def encoded(password: str) -> str:
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


def helper(monkeypatch, tmp_path, name: str, answer: str) -> None:
    """Install a credential helper that answers for whatever it is asked."""
    program = tmp_path / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/asked\necho '{answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def in_environment(monkeypatch, tmp_path, host):
    monkeypatch.setenv("OMMX_BASIC_AUTH_DOMAIN", host)
    monkeypatch.setenv("OMMX_BASIC_AUTH_USERNAME", USER)
    monkeypatch.setenv("OMMX_BASIC_AUTH_PASSWORD", PASSWORD)
    docker_config({"auths": {host: {"auth": encoded("of somebody else")}}})


def in_config_as_auth(monkeypatch, tmp_path, host):
    docker_config({"auths": {host: {"auth": encoded(PASSWORD)}}})


def in_config_as_url(monkeypatch, tmp_path, host):
    docker_config({"auths": {f"https://{host}": {"username": USER, "password": PASSWORD}}})


def in_store(monkeypatch, tmp_path, host):
    helper(monkeypatch, tmp_path, "store", json.dumps({"Username": USER, "Secret": PASSWORD}))
    docker_config({"auths": {host: {}}, "credsStore": "store"})


def in_helper_of_the_host(monkeypatch, tmp_path, host):
    helper(monkeypatch, tmp_path, "mine", json.dumps({"Username": USER, "Secret": PASSWORD}))
    docker_config({"credHelpers": {host: "mine"}, "credsStore": "not-installed"})


def beside_a_broken_helper(monkeypatch, tmp_path, host):
    docker_config({"auths": {host: {"auth": encoded(PASSWORD)}}, "credsStore": "not-installed"})


PLACES = (
    in_environment,
    in_config_as_auth,
    in_config_as_url,
    in_store,
    in_helper_of_the_host,
    beside_a_broken_helper,
)


@pytest.mark.parametrize("place", PLACES)
def test_credentials_are_found_and_open_the_registry(place, monkeypatch, tmp_path, locked):
    place(monkeypatch, tmp_path, locked.host)
    with Repository(locked.host, f"acme/{place.__name__}") as repository:
        manifest = push_image(repository, "one", b"layer")
        assert repository.get_manifest("one") == manifest


def test_what_is_handed_in_wins(monkeypatch, tmp_path, locked):
    docker_config({"auths": {locked.host: {"auth": encoded("of somebody else")}}})
    mine = Credentials(USER, SecretStr(PASSWORD))
    with Repository(locked.host, "acme/mine", mine) as repository:
        push_image(repository, "one", b"layer")


def test_without_credentials_the_error_says_where_to_put_them(locked):
    with (
        Repository(locked.host, "acme") as repository,
        pytest.raises(exceptions.RegistryAuthError, match="docker login"),
    ):
        repository.has_blob(digest_of(b""))


def test_a_wrong_password_is_refused_once_and_never_shown(locked, caplog):
    secret = "wrong-password-that-nobody-may-see"
    credentials = Credentials(USER, SecretStr(secret))
    caplog.set_level(logging.DEBUG)
    before = locked.log.count("GET /v2/acme/secret")
    with (
        Repository(locked.host, "acme/secret", credentials) as repository,
        pytest.raises(exceptions.RegistryAuthError) as caught,
    ):
        repository.get_blob(digest_of(b""))
    assert locked.log.count("GET /v2/acme/secret") - before == 2  # unasked, and asked
    assert "does not take the user and the password that were found" in str(caught.value)
    trace = "".join(traceback.format_exception(caught.value))
    shown = [trace, caplog.text, repr(credentials), str(credentials), repr(caught.value)]
    hidden = (secret, encoded(secret))
    assert not [text for text in shown for word in hidden if word in text]


def test_a_domain_without_its_password_is_refused_before_a_request(monkeypatch):
    monkeypatch.setenv("OMMX_BASIC_AUTH_DOMAIN", "ghcr.io")
    monkeypatch.setenv("OMMX_BASIC_AUTH_USERNAME", USER)
    with pytest.raises(exceptions.RegistryAuthError, match="OMMX_BASIC_AUTH_PASSWORD is not set"):
        Repository("ghcr.io", "acme")
    assert find_credentials("quay.io") is None


def test_an_identity_token_of_a_helper_is_told_from_a_password(monkeypatch, tmp_path):
    helper(monkeypatch, tmp_path, "store", json.dumps({"Username": "<token>", "Secret": "t"}))
    docker_config({"credsStore": "store"})
    found = find_credentials("ghcr.io")
    assert found is not None
    assert found.is_identity_token
    assert (tmp_path / "asked").read_text() == "ghcr.io"


def test_docker_hub_is_found_under_its_old_name():
    docker_config({"auths": {"https://index.docker.io/v1/": {"auth": encoded(PASSWORD)}}})
    assert find_credentials("docker.io") == Credentials(USER, SecretStr(PASSWORD))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": {"h": {"auth": "%%"}}}'])
def test_a_config_that_cannot_be_read_is_no_config(text):
    folder = Path(os.environ["DOCKER_CONFIG"])
    folder.mkdir()
    (folder / "config.json").write_text(text)
    assert find_credentials("h") is None


def test_a_bearer_token_is_fetched_once_for_each_scope(tokens):
    registry, server = tokens
    server.asked.clear()
    with Repository(registry.host, "acme", Credentials(USER, SecretStr(PASSWORD))) as repository:
        manifest = push_image(repository, "one", b"layer", b"another")
        assert repository.get_manifest("one") == manifest
        assert repository.delete_manifest(digest_of(manifest))
    actions = [scope.rpartition(":")[2] for (scope,) in server.asked]
    assert [sorted(action.split(",")) for action in actions] == [
        ["pull"],
        ["pull", "push"],
        ["delete"],
    ]


def test_a_token_that_expires_is_renewed(tokens, monkeypatch):
    registry, server = tokens
    monkeypatch.setattr(server, "expires_in", 1)  # renewed ten seconds before: at once
    server.asked.clear()
    with Repository(registry.host, "acme", Credentials(USER, SecretStr(PASSWORD))) as repository:
        assert not repository.has_blob(digest_of(b"never"))
        assert not repository.has_blob(digest_of(b"never"))
    assert len(server.asked) == 2


def test_a_mount_asks_for_both_repositories(tokens):
    registry, server = tokens
    mine = Credentials(USER, SecretStr(PASSWORD))
    with (
        Repository(registry.host, "acme/from", mine) as first,
        Repository(registry.host, "acme/to", mine) as second,
    ):
        first.push_blob(b"mounted", digest_of(b"mounted"))
        server.asked.clear()
        assert second.mount_blob(digest_of(b"mounted"), "acme/from")
    (scopes,) = server.asked
    assert {scope.split(":")[1] for scope in scopes} == {"acme/from", "acme/to"}


def test_an_identity_token_is_traded_for_a_bearer_token(tokens):
    registry, _ = tokens
    docker_config({"auths": {registry.host: {"identitytoken": IDENTITY_TOKEN}}})
    with Repository(registry.host, "acme/identity") as repository:
        push_image(repository, "one", b"layer")


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        Credentials(USER, SecretStr("wrong")),
        Credentials("<token>", SecretStr("wrong")),
    ],
)
def test_a_token_server_that_refuses_is_an_error_of_authentication(tokens, credentials):
    registry, _ = tokens
    with (
        Repository(registry.host, "acme", credentials) as repository,
        pytest.raises(exceptions.RegistryAuthError, match="token server answers 401"),
    ):
        repository.tags()


def test_a_token_server_in_the_clear_never_sees_the_password():
    def answer(handler: Handler) -> None:
        challenge = 'Bearer realm="http://tokens.example.org/token",service="s"'
        handler.answer(401, b"", {"WWW-Authenticate": challenge})

    mine = Credentials(USER, SecretStr(PASSWORD))
    with (
        answering(answer) as host,
        Repository(host, "acme", mine) as repository,
        pytest.raises(exceptions.RegistryAuthError, match="not spoken to over HTTPS"),
    ):
        repository.tags()


def test_where_a_registry_redirects_no_credentials_go():
    seen: list[str | None] = []

    def store(handler: Handler) -> None:
        seen.append(handler.headers.get("Authorization"))
        handler.answer(200, b"payload")

    with answering(store) as elsewhere:

        def answer(handler: Handler) -> None:
            if handler.headers.get("Authorization") is None:
                return handler.answer(401, b"", {"WWW-Authenticate": 'Basic realm="r"'})
            return handler.answer(307, b"", {"Location": f"http://{elsewhere}/payload"})

        mine = Credentials(USER, SecretStr(PASSWORD))
        with answering(answer) as host, Repository(host, "acme", mine) as repository:
            assert repository.get_blob(digest_of(b"payload")) == b"payload"
            assert repository.get_blob(digest_of(b"payload")) == b"payload"
    assert seen == [None, None]
