"""The registry client, against a real docker-registry; faulty answers come over HTTP too."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from registry_server import USER, RegistryServer, running_registry
from token_server import TokenServer, running_token_server

from ommx_prefect import _oci, _oci_http, exceptions
from ommx_prefect._oci import Repository
from ommx_prefect._oci_credentials import Credentials, find_credentials
from ommx_prefect._oci_names import (
    MOST_MANIFEST_BYTES,
    Challenge,
    api_url,
    challenge_of,
    check_manifest_size,
    digest_of,
    split_name,
)

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
PASSWORD = "correct-horse-battery"
IDENTITY_TOKEN = "identity-token-of-alice"


@pytest.fixture(autouse=True)
def _no_credentials_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOMAIN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"OMMX_BASIC_AUTH_{name}", raising=False)


@pytest.fixture
def quick(monkeypatch):
    """Waits that a test can wait for."""
    table = {"attempts": 4, "timeout": 20.0, "wait_initial": 0.05, "wait_jitter": 0.05}
    for name, value in table.items():
        monkeypatch.setitem(_oci_http.RETRY, name, value)


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Iterator[RegistryServer]:
    with running_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


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


@pytest.fixture
def repository(registry, request) -> Iterator[Repository]:
    name = f"tests/{abs(hash(request.node.name))}"
    with Repository(registry.host, name) as found:
        yield found


def push_image(repository: Repository, tag: str, *blobs: bytes) -> bytes:
    """Push an image of these layers, and return its manifest."""
    config = json.dumps({"tag": tag}).encode()
    for blob in (config, *blobs):
        repository.push_blob(blob, digest_of(blob))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(config),
            "layers": [_descriptor(blob) for blob in blobs],
        }
    ).encode()
    assert repository.put_manifest(tag, manifest, MANIFEST_TYPE) == digest_of(manifest)
    return manifest


def _descriptor(blob: bytes) -> dict[str, object]:
    return {"mediaType": "application/json", "digest": digest_of(blob), "size": len(blob)}


# ---------------------------------------------------------------- content


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest(repository):
    manifest = push_image(repository, "one", b"layer")
    assert repository.get_manifest("one") == manifest
    assert repository.get_manifest(digest_of(manifest)) == manifest


def test_a_blob_from_a_file_comes_back_and_is_sent_once(repository, tmp_path):
    data = os.urandom(3 * _oci_http.CHUNK_BYTES + 17)
    path = tmp_path / "blob"
    path.write_bytes(data)
    digest = digest_of(data)
    assert not repository.has_blob(digest)
    assert repository.push_blob(path, digest)
    assert repository.has_blob(digest)
    assert not repository.push_blob(path, digest)
    assert repository.get_blob(digest, most_bytes=len(data)) == data


def test_an_empty_file_is_a_blob_too(repository, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    repository.push_blob(path, digest_of(b""))
    assert repository.get_blob(digest_of(b"")) == b""


def test_what_is_not_there_is_an_error_of_its_own(repository):
    with pytest.raises(exceptions.NotInRegistryError, match="MANIFEST_UNKNOWN"):
        repository.get_manifest("nowhere")
    with pytest.raises(exceptions.NotInRegistryError):
        repository.get_blob(digest_of(b"nowhere"))


def test_bytes_of_another_digest_are_refused_by_the_registry(repository):
    with pytest.raises(exceptions.RegistryError, match="DIGEST_INVALID"):
        repository.push_blob(b"these", digest_of(b"those"))


def test_a_manifest_without_its_blobs_is_refused(repository):
    manifest = push_image(repository, "one", b"layer").replace(
        digest_of(b"layer").encode(), digest_of(b"never pushed").encode()
    )
    with pytest.raises(exceptions.RegistryError, match="BLOB_UNKNOWN"):
        repository.put_manifest("two", manifest, MANIFEST_TYPE)


def test_a_blob_larger_than_announced_is_not_taken(repository):
    repository.push_blob(b"0123456789", digest_of(b"0123456789"))
    with pytest.raises(exceptions.RegistryError, match="more than 9 bytes"):
        repository.get_blob(digest_of(b"0123456789"), most_bytes=9)


def test_a_blob_is_mounted_from_another_repository(repository, registry):
    blob = os.urandom(100)
    repository.push_blob(blob, digest_of(blob))
    with Repository(registry.host, f"{repository.repository}-2") as other:
        assert not other.has_blob(digest_of(blob))
        assert other.mount_blob(digest_of(blob), repository.repository)
        assert other.get_blob(digest_of(blob)) == blob
        assert not other.mount_blob(digest_of(b"nowhere"), repository.repository)


def test_tags_are_listed_by_prefix(repository):
    assert repository.tags() == []
    for tag in ("shard-1", "shard-2", "latest"):
        push_image(repository, tag, b"layer")
    assert repository.tags("shard-") == ["shard-1", "shard-2"]
    assert repository.tags() == ["latest", "shard-1", "shard-2"]


def test_pages_of_tags_are_followed():
    pages = {"": (["a", "b"], "c"), "c": (["c", "d"], "e"), "e": (["e"], None)}

    def answer(handler: Handler) -> None:
        tags, following = pages[str(httpx.URL(handler.path).params.get("last", ""))]
        link = f'</v2/acme/tags/list?n=2&last={following}>; rel="next"'
        body = json.dumps({"name": "acme", "tags": tags}).encode()
        handler.answer(200, body, {"Link": link} if following else {})

    with answering(answer) as host, Repository(host, "acme") as repository:
        assert repository.tags() == ["a", "b", "c", "d", "e"]


def test_a_deleted_manifest_is_gone_and_deleting_again_is_no_error(repository):
    digest = digest_of(push_image(repository, "one", b"layer"))
    assert repository.delete_manifest(digest)
    assert repository.tags() == []
    assert repository.delete_manifest(digest)


def test_a_registry_that_allows_no_deleting_says_so(tmp_path):
    with (
        running_registry(tmp_path / "r", allow_delete=False) as server,
        Repository(server.host, "acme") as repository,
    ):
        digest = digest_of(push_image(repository, "one", b"layer"))
        assert not repository.delete_manifest(digest)
        assert not repository.delete_tag("one")
        assert repository.tags() == ["one"]


def test_docker_registry_2_deletes_no_tags_alone(repository):
    push_image(repository, "one", b"layer")
    assert not repository.delete_tag("one")
    assert repository.tags() == ["one"]


# ---------------------------------------------------------------- the limit of manifests


def padded(manifest: bytes, size: int) -> bytes:
    document = {**json.loads(manifest), "annotations": {"pad": ""}}
    short = size - len(json.dumps(document))
    return json.dumps({**document, "annotations": {"pad": "x" * short}}).encode()


def test_the_limit_of_manifests_is_that_of_the_registry(repository):
    manifest = push_image(repository, "one", b"layer")
    largest = padded(manifest, MOST_MANIFEST_BYTES)
    repository.put_manifest("largest", largest, MANIFEST_TYPE)
    assert repository.get_manifest("largest") == largest
    larger = padded(manifest, MOST_MANIFEST_BYTES + 1)
    url = f"{api_url(repository.registry)}{repository.repository}/manifests/larger"
    headers = {"Content-Type": MANIFEST_TYPE}
    assert httpx.put(url, content=larger, headers=headers, trust_env=False).status_code >= 400
    with pytest.raises(exceptions.ManifestTooLargeError, match="1 layers"):
        repository.put_manifest("larger", larger, MANIFEST_TYPE)
    assert repository.tags("larg") == ["largest"]


def test_the_refusal_says_how_many_layers_there_are_and_would_fit():
    check_manifest_size(b"x" * MOST_MANIFEST_BYTES, 16_000)
    with pytest.raises(exceptions.ManifestTooLargeError) as caught:
        check_manifest_size(b"x" * (2 * MOST_MANIFEST_BYTES), 32_000)
    assert "32,000 layers" in str(caught.value)
    assert "about 16,000 such layers" in str(caught.value)
    assert "log_output=False" in str(caught.value)


# ---------------------------------------------------------------- credentials


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


# ---------------------------------------------------------------- bearer tokens


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


# ---------------------------------------------------------------- a registry that is not well


@pytest.mark.usefixtures("quick")
def test_a_registry_that_is_down_is_an_error_in_bounded_time(tmp_path):
    with running_registry(tmp_path / "r") as server, Repository(server.host, "acme") as repository:
        server.stop()
        with pytest.raises(exceptions.RegistryUnavailableError, match="cannot be reached") as found:
            repository.push_blob(b"layer", digest_of(b"layer"))
        assert server.host in str(found.value)
        server.start()
        assert repository.push_blob(b"layer", digest_of(b"layer"))


@pytest.mark.usefixtures("quick")
def test_a_registry_that_says_nothing_is_waited_for_in_bounds_and_stops_no_thread(monkeypatch):
    monkeypatch.setattr(_oci_http, "TIMEOUT", httpx.Timeout(0.5))
    ticks: list[float] = []
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(0.05):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        thread.start()
        with (
            Repository(f"127.0.0.1:{silent.getsockname()[1]}", "acme") as repository,
            pytest.raises(exceptions.RegistryUnavailableError, match="ReadTimeout"),
        ):
            repository.has_blob(digest_of(b""))
        ended.set()
        thread.join(10)
    assert len(ticks) > 10


def test_a_registry_that_comes_back_gets_the_blob(tmp_path):
    with running_registry(tmp_path / "r") as server, Repository(server.host, "acme") as repository:
        server.stop()
        back = threading.Timer(1.0, server.start)
        back.start()
        assert repository.push_blob(b"layer", digest_of(b"layer"))
        back.join()
        assert repository.get_blob(digest_of(b"layer")) == b"layer"


@pytest.mark.usefixtures("quick")
def test_an_upload_whose_session_a_restart_lost_begins_anew(tmp_path, monkeypatch):
    data = os.urandom(1000)
    with running_registry(tmp_path / "r") as server, Repository(server.host, "acme") as repository:
        locate = Repository._location
        lost: list[int] = []

        def restarted_in_between(self, answer):
            if not lost:
                lost.append(1)
                server.restart()  # its secret is a new one: what it signed is void
            return locate(self, answer)

        monkeypatch.setattr(Repository, "_location", restarted_in_between)
        assert repository.push_blob(data, digest_of(data))
        assert repository.get_blob(digest_of(data)) == data
        assert server.log.count("POST /v2/acme/blobs/uploads/") >= 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("statuses", "requests"), [([503, 500, 200], 3), ([429, 200], 2), ([400], 1), ([503] * 9, 4)]
)
def test_only_what_may_pass_is_tried_again(statuses, requests):
    asked: list[float] = []

    def answer(handler: Handler) -> None:
        asked.append(time.monotonic())
        handler.answer(statuses[len(asked) - 1], b'{"tags": []}')

    with answering(answer) as host, Repository(host, "acme") as repository:
        failed = contextlib.nullcontext()
        if statuses[requests - 1] != 200:
            failed = pytest.raises(exceptions.RegistryError, match="it answers")
        with failed:
            repository.tags()
    assert len(asked) == requests


@pytest.mark.usefixtures("quick")
def test_retry_after_is_heeded():
    asked: list[float] = []

    def answer(handler: Handler) -> None:
        asked.append(time.monotonic())
        handler.answer(429 if len(asked) == 1 else 200, b'{"tags": []}', {"Retry-After": "1"})

    with answering(answer) as host, Repository(host, "acme") as repository:
        repository.tags()
    assert asked[1] - asked[0] >= 1.0


@pytest.mark.parametrize("announced", [True, False])
def test_a_manifest_of_another_digest_is_not_believed(announced):
    wanted = digest_of(b"{}")

    def answer(handler: Handler) -> None:
        headers = {"Docker-Content-Digest": wanted} if announced else {}
        handler.answer(200, b'{"another": 1}', headers)

    with (
        answering(answer) as host,
        Repository(host, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="another digest"),
    ):
        repository.get_manifest("latest" if announced else wanted)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("registry", "url"),
    [
        ("localhost:5000", "http://localhost:5000/v2/"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
        ("127.9.9.9", "http://127.9.9.9/v2/"),
        ("[::1]:5000", "http://[::1]:5000/v2/"),
        ("ghcr.io", "https://ghcr.io/v2/"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000/v2/"),
        ("127.evil.example.org", "https://127.evil.example.org/v2/"),
        ("localhost.example.org", "https://localhost.example.org/v2/"),
        ("docker.io", "https://registry-1.docker.io/v2/"),
    ],
)
def test_plain_http_is_for_this_machine_only(registry, url):
    assert api_url(registry) == url


def test_an_image_name_has_three_parts():
    name = split_name("127.0.0.1:5000/acme/nightly:2026-11")
    assert (name.registry, name.repository, name.tag) == (
        "127.0.0.1:5000",
        "acme/nightly",
        "2026-11",
    )


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ('Basic realm="tests"', Challenge("basic", "tests")),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            Challenge("bearer", "https://a/t", "s", "repository:x:pull,push"),
        ),
        ('bearer realm="https://a/t", service=s', Challenge("bearer", "https://a/t", "s")),
        (r'Bearer realm="https://a/\"t"', Challenge("bearer", 'https://a/"t')),
        ("", Challenge("")),
    ],
)
def test_challenges_are_parsed(header, challenge):
    assert challenge_of(header) == challenge


@pytest.mark.parametrize(
    "error",
    [
        exceptions.RegistryError("h", "r", "why"),
        exceptions.RegistryAuthError("h", "r", "why"),
        exceptions.RegistryUnavailableError("h", "r", "why", 3.0),
        exceptions.NotInRegistryError("h", "r", "why"),
        exceptions.ManifestTooLargeError(5_000_000, 20_000, MOST_MANIFEST_BYTES),
    ],
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


# ---------------------------------------------------------------- a server of scripted answers


class Handler(BaseHTTPRequestHandler):
    """Answers every method by one function."""

    script: Callable[[Handler], None]

    def do_GET(self) -> None:
        type(self).script(self)

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def answering(script: Callable[[Handler], None]) -> Iterator[str]:
    """Serve one function's answers; yields `host:port`."""
    handler = type("Scripted", (Handler,), {"script": staticmethod(script)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_the_page_size_is_asked_for():
    asked: list[str] = []

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        handler.answer(200, b'{"tags": null}')

    with answering(answer) as host, Repository(host, "acme") as repository:
        assert repository.tags() == []
    assert asked == [f"/v2/acme/tags/list?n={_oci.TAGS_PER_PAGE}"]
