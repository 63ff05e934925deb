"""A registry that means harm: credentials stay where they belong, wherever it sends us."""

from __future__ import annotations

import base64
import json

import pytest
from pydantic import SecretStr

from ommx_prefect import exceptions
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from tests.support.cases import each
from tests.support.evil_registry import (
    PASSWORD,
    REFRESH,
    USER,
    Answer,
    Host,
    Seen,
    asking_first,
    bearer,
    host,
    storing,
    to,
)

pytestmark = pytest.mark.usefixtures("no_credentials", "brief_waits")

BASIC = Credentials(USER, SecretStr(PASSWORD))
IDENTITY = Credentials("<token>", SecretStr(REFRESH))
PAIR = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = (PASSWORD, PAIR, REFRESH, "Bearer", "Basic")
DIGEST = digest_of(b"payload")
MANIFEST = b'{"layers": []}'
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

# What a client does with a registry, by name.
DOING = {
    "get a blob": lambda r: r.get_blob(DIGEST),
    "find a blob": lambda r: r.has_blob(DIGEST),
    "get a manifest": lambda r: r.get_manifest("one"),
    "list tags": lambda r: r.tags(),
    "push a blob": lambda r: r.push_blob(b"payload", DIGEST),
    "push a manifest": lambda r: r.put_manifest("one", MANIFEST, MANIFEST_TYPE),
    "mount a blob": lambda r: r.mount_blob(DIGEST, "acme/other"),
    "delete a manifest": lambda r: r.delete_manifest(DIGEST),
}


def do(doing: str, registry: Host, credentials: Credentials | None = BASIC) -> bool:
    """Do something with a registry; tell whether it went well. Only a RegistryError may tell."""
    with Repository(registry.name, "acme/night", credentials) as repository:
        try:
            DOING[doing](repository)
        except exceptions.RegistryError:
            return False
        return True


@each("status", [301, 302, 303, 307, 308])
def test_no_redirect_takes_credentials_along(status):
    with host(asking_first(storing())) as elsewhere:
        answer = asking_first(lambda seen: to(f"http://{elsewhere.name}/there", status))
        for doing in DOING:
            with host(answer) as registry:
                do(doing, registry)
            assert registry.authorized, doing
        assert elsewhere.knows(*SECRETS) == []
        # An upload is begun, and something deleted, by the registry or not at all.
        methods = {"GET", "HEAD", "PUT"} if status in (307, 308) else {"GET", "HEAD"}
        assert {x.method for x in elsewhere.seen} == methods


def test_what_is_redirected_is_read_and_checked():
    with host(storing(b"payload")) as right, host(storing(b"another")) as wrong:
        for elsewhere, is_read in ((right, True), (wrong, False)):
            answer = asking_first(lambda seen, to_=elsewhere: to(f"http://{to_.name}/there"))
            with host(answer) as registry:
                assert do("get a blob", registry) == is_read
            assert len(elsewhere.seen) == 1


def test_an_upload_that_goes_on_elsewhere_is_sent_without_credentials():
    with host(storing()) as elsewhere:

        def answer(seen: Seen) -> Answer:
            there = {"Location": f"http://{elsewhere.name}/upload?state=1"}
            return (404, b"", {}) if seen.method == "HEAD" else (202, b"", there)

        with host(asking_first(answer)) as registry:
            assert do("push a blob", registry)
    (put,) = elsewhere.seen
    assert (put.method, put.body) == ("PUT", b"payload")
    assert "state=1" in put.path
    assert elsewhere.knows(*SECRETS) == []


def test_what_is_left_of_an_upload_is_not_deleted_elsewhere():
    with host(storing()) as elsewhere:
        there = {"Location": f"http://{elsewhere.name}/v2/acme/night/manifests/{DIGEST}"}
        with host(asking_first(lambda seen: (202, b"", there))) as registry:
            assert not do("mount a blob", registry)
        assert elsewhere.seen == []


def test_another_host_does_nothing_at_the_registry_in_our_name():
    names: dict[str, str] = {}

    def back(seen: Seen) -> Answer:
        return to(f"http://{names['registry']}/v2/acme/night/manifests/latest")

    with host(back) as elsewhere:

        def answer(seen: Seen) -> Answer:
            if "manifests/latest" in seen.path:
                return 201, b"", {}
            return to(f"http://{elsewhere.name}/there")

        with host(asking_first(answer)) as registry:
            names["registry"] = registry.name
            for doing in DOING:
                do(doing, registry)
        came_back = [x for x in registry.seen if "manifests/latest" in x.path]
        assert came_back
        assert [x for x in came_back if "authorization" in x.headers] == []


def test_a_registry_leaves_no_cookie_behind():
    def answer(seen: Seen) -> Answer:
        return 200, b"payload", {"Set-Cookie": "spy=1; Path=/"}

    with host(answer) as registry, Repository(registry.name, "acme") as repository:
        repository.get_blob(DIGEST)
        repository.get_blob(DIGEST)
    assert not any("cookie" in x.headers for x in registry.seen)


# ---------------------------------------------------------------- token servers


@each("credentials", [BASIC, IDENTITY])
@each("status", [301, 302, 303, 307, 308])
def test_a_token_server_does_not_send_us_elsewhere(status, credentials):
    with (
        host(lambda seen: (200, b'{"token": "t"}', {})) as elsewhere,
        host(lambda seen: to(f"http://{elsewhere.name}/token", status)) as tokens,
        host(lambda seen: bearer(f"http://{tokens.name}/token")) as registry,
    ):
        for doing in ("get a blob", "push a manifest"):
            assert not do(doing, registry, credentials)
        assert elsewhere.seen == []
        assert registry.knows(PASSWORD, PAIR, REFRESH) == []


def test_a_token_server_may_move_its_page():
    def tokens(seen: Seen) -> Answer:
        return (200, b'{"token": "t"}', {}) if "/new" in seen.path else to("/new")

    with host(tokens) as server:

        def answer(seen: Seen) -> Answer:
            if seen.headers.get("authorization") == "Bearer t":
                return 200, b"payload", {}
            return bearer(f"http://{server.name}/token")

        with host(answer) as registry:
            assert do("get a blob", registry, BASIC)
            assert do("get a blob", registry, IDENTITY)
    assert [x.method for x in server.seen] == ["GET", "GET", "POST", "POST"]


def test_a_token_opens_nothing_but_what_is_used_here():
    """A registry may want a token for repositories of others that its token server serves, too."""
    asked = "repository:victims/secrets:pull,push,delete repository:acme/night:pull registry:*:*"
    with host(lambda seen: (200, b'{"token": "t"}', {})) as tokens:
        realm = f"http://{tokens.name}/token"
        with host(lambda seen: bearer(realm, scope=asked)) as registry:
            do("get a blob", registry)
            do("get a blob", registry, IDENTITY)
    assert len(tokens.seen) == 2
    assert not any("victims" in x.text or "registry%3A" in x.text for x in tokens.seen)
    assert all("acme%2Fnight%3Apull" in x.text for x in tokens.seen)


def test_a_host_that_is_not_the_registry_cannot_ask_who_we_are():
    with host(lambda seen: (200, b'{"token": "t"}', {})) as tokens:
        realm = f"http://{tokens.name}/token"
        with host(lambda seen: bearer(realm)) as elsewhere:
            answer = asking_first(lambda seen: to(f"http://{elsewhere.name}/there"))
            with host(answer) as registry:
                assert not do("get a blob", registry)
    assert tokens.seen == []


@each(
    "realm",
    ["http://tokens.example.org/token", "", "/token", "//evil.example.org", "file:///etc/passwd",
     "https://alice:pw@evil.example.org/", "https://", "http://127.0.0.1.evil.example.org/",
     "http://localhost@evil.example.org/", "http://[::1"],
)  # fmt: skip
def test_a_realm_in_the_clear_or_without_sense_is_refused(realm):
    with host(lambda seen: bearer(realm)) as registry:
        with (
            Repository(registry.name, "acme/night", BASIC) as repository,
            pytest.raises(exceptions.RegistryAuthError, match="token server is not asked"),
        ):
            repository.get_blob(DIGEST)
        assert registry.knows(PASSWORD, PAIR) == []


TOKENS = ["café", "a\r\nX-Evil: 1", "", " ", "t" * 70_000, None, 7, ["t"], {"a": 1}]


@each("token", TOKENS)
@each("key", ["token", "access_token"])
def test_a_token_that_no_header_can_hold_is_refused(key, token):
    body = json.dumps({key: token}).encode()
    with host(lambda seen: (200, body, {})) as tokens:
        realm = f"http://{tokens.name}/token"
        with (
            host(lambda seen: bearer(realm)) as registry,
            Repository(registry.name, "acme", BASIC) as repository,
            pytest.raises(exceptions.RegistryAuthError, match="without a token"),
        ):
            repository.tags()


@each("seconds", ["NaN", "Infinity", "-1", "1e999", '"7"', "[]", "null"])
def test_a_token_of_an_odd_lifetime_is_used_once(seconds):
    body = f'{{"token": "t", "expires_in": {seconds}}}'.encode()
    with host(lambda seen: (200, body, {})) as tokens:

        def answer(seen: Seen) -> Answer:
            if seen.headers.get("authorization") == "Bearer t":
                return 200, b"payload", {}
            return bearer(f"http://{tokens.name}/token")

        with host(answer) as registry:
            assert do("get a blob", registry)
