"""A registry whose answers have no end, or no sense: each is one clear error, soon, in bounds."""

from __future__ import annotations

import gzip
import itertools
import json
import resource
import sys
import time

import pytest
from pydantic import SecretStr

from ommx_prefect import exceptions
from ommx_prefect._oci.challenge import challenge_of
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.names import digest_of, is_repository
from ommx_prefect._oci.repository import Repository
from ommx_prefect._sealing.composed import tags_to_read
from ommx_prefect._sealing.lineage import Series
from tests.support.cases import each
from tests.support.evil_registry import Answer, Seen, bearer, host, storing
from tests.support.scripted_server import Handler, answering

pytestmark = pytest.mark.usefixtures("no_credentials", "brief_waits")

DIGEST = digest_of(b"payload")
MIB = 1024 * 1024
CREDENTIALS = Credentials("alice", SecretStr("correct-horse-battery"))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def endless(status: int, headers: dict[str, str], *, chunk: bytes = b" " * 65536):
    """Answer with a body that has no end, until nobody listens."""

    def answer(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            for _ in range(8192):  # 512 MiB
                handler.wfile.write(chunk)
        except OSError:
            return
        raise AssertionError("all of it was read")

    return answering(answer)


ASKING = {
    "a manifest": lambda r, path: r.get_manifest("one"),
    "tags": lambda r, path: r.tags(),
    "a blob": lambda r, path: r.get_blob(DIGEST, most_bytes=7),
    "a blob into a file": lambda r, path: r.save_blob(DIGEST, path / "blob", 7),
}


@each("status", [200, 401, 404, 307])
@each("asking", ASKING)
def test_an_answer_without_end_is_not_read(asking, status, tmp_path):
    headers = {"WWW-Authenticate": 'Basic realm="r"', "Location": "/again"}
    before, began = peak_bytes(), time.monotonic()
    with (
        endless(status, headers) as name,
        Repository(name, "acme", CREDENTIALS) as repository,
        pytest.raises(exceptions.RegistryError),
    ):
        ASKING[asking](repository, tmp_path)
    assert time.monotonic() - began < 10
    assert peak_bytes() - before < 100 * MIB
    assert list(tmp_path.iterdir()) == []


@each("asking", ASKING)
def test_an_answer_that_says_it_is_too_large_is_not_begun(asking, tmp_path):
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**15))
        handler.end_headers()
        handler.wfile.write(b" " * 100)
        handler.close_connection = True

    with (
        answering(answer) as name,
        Repository(name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match=r"has more than [\d,]+ bytes"),
    ):
        ASKING[asking](repository, tmp_path)


def test_a_blob_of_unknown_size_leaves_room_on_the_disk(tmp_path):
    def answer(handler: Handler) -> None:
        handler.answer(200, b"", {"Content-Length": str(10**15)})

    with (
        answering(answer) as name,
        Repository(name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="has more than"),
    ):
        repository.save_blob(DIGEST, tmp_path / "blob")
    assert list(tmp_path.iterdir()) == []


@each("asking", ASKING)
def test_nothing_is_decompressed(asking, tmp_path):
    bomb = gzip.compress(b" " * (64 * MIB) + b'{"tags": []}', 1)
    before = peak_bytes()
    with (
        host(lambda seen: (200, bomb, {"Content-Encoding": "gzip"})) as registry,
        Repository(registry.name, "acme") as repository,
    ):
        try:
            ASKING[asking](repository, tmp_path)
        except exceptions.RegistryError:
            assert asking != "a manifest"  # whose bytes are what they are
    assert peak_bytes() - before < 60 * MIB


def test_a_token_server_without_end_is_not_read():
    with (
        endless(200, {}) as tokens,
        host(lambda seen: bearer(f"http://{tokens}/token")) as registry,
        Repository(registry.name, "acme", CREDENTIALS) as repository,
        pytest.raises(exceptions.RegistryAuthError, match="without a token"),
    ):
        repository.tags()


@each("status", [301, 302, 303, 307, 308])
def test_endless_redirects_end_in_an_error(status):
    steps = itertools.count()
    answer = lambda seen: (status, b"", {"Location": f"/v2/{next(steps)}"})  # noqa: E731
    with (
        host(answer) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="redirects more than 5 times"),
    ):
        repository.get_blob(DIGEST)
    assert len(registry.seen) == 6


def pages(tags: list[str], link: str) -> Answer:
    return 200, json.dumps({"tags": tags}).encode(), {"Link": f'<{link}>; rel="next"'}


def test_pages_of_the_same_tags_end():
    steps = itertools.count()
    with (
        host(lambda seen: pages(["a", "b"], f"/v2/acme/{next(steps)}")) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="has no end"),
    ):
        repository.tags()
    assert len(registry.seen) == 2


def test_pages_of_ever_new_tags_end(monkeypatch):
    monkeypatch.setattr("ommx_prefect._oci.tags.MOST_PAGES", 20)
    steps = itertools.count()
    with (
        host(lambda seen: pages([f"t{next(steps)}"], f"/v2/acme/{next(steps)}")) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="more than 20 pages"),
    ):
        repository.tags()
    assert len(registry.seen) == 20


def test_pages_of_many_tags_end(monkeypatch):
    monkeypatch.setattr("ommx_prefect._oci.tags.MOST_LIST_BYTES", 100)
    steps = itertools.count()
    with (
        host(lambda seen: pages([f"t{next(steps)}" * 9], f"/v2/a/{next(steps)}")) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="list of tags has more than 100 bytes"),
    ):
        repository.tags()
    assert len(registry.seen) < 5


def test_a_descriptor_does_not_say_how_much_is_taken_into_memory(monkeypatch):
    monkeypatch.setattr("ommx_prefect._oci.repository.MOST_STATED_BYTES", 100)
    with (
        host(storing(bytes(101))) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="more than 100 bytes"),
    ):
        repository.get_blob(DIGEST, most_bytes=2**62)


@pytest.mark.timeout(120)
def test_a_repository_of_very_many_nights_is_looked_at_once():
    """It took minutes: what was found was gathered anew for each tag."""
    night = Series("id", "", "f", "r/n", "2026-11-30T02:00:00+00:00")
    tags = [f"20251130T{x:06}-{x}" for x in range(200_000)]
    assert tags_to_read(tags, night)[0] == "20251130T199999-199999"


def test_the_next_page_is_the_registrys_own():
    with host(lambda seen: (200, b'{"tags": []}', {})) as elsewhere:
        with (
            host(lambda seen: pages(["a"], f"http://{elsewhere.name}/v2/acme/tags")) as registry,
            Repository(registry.name, "acme") as repository,
            pytest.raises(exceptions.RegistryError, match="to another host"),
        ):
            repository.tags()
        assert elsewhere.seen == []


TAGS = [b"", b"[]", b"7", b'{"tags": 7}', b'{"tags": {"a": 1}}', b'{"tags": [7]}',
        b'{"tags": "ab"}',
        b'{"tags": ' + b"[" * 200_000, b"\xff\xfe"]  # fmt: skip


@each("body", TAGS)
def test_a_list_of_tags_without_sense_is_one_error(body):
    with (
        host(lambda seen: (200, body, {})) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError, match="its list of tags makes no sense"),
    ):
        repository.tags()


def test_what_is_no_tag_is_not_listed():
    body = json.dumps({"tags": ["../../evil", "a\u001b[2J", "good", "x" * 129, "-a"]}).encode()
    with host(lambda seen: (200, body, {})) as registry, Repository(registry.name, "a") as found:
        assert found.tags() == ["good"]


@each("wait", ["nan", "inf", "-inf", "-5", "1e999", "soon", "", "0x10", "9" * 50])
def test_an_odd_retry_after_is_an_error_like_others(wait, monkeypatch):
    monkeypatch.setattr("ommx_prefect._oci.retries.MOST_RETRY_AFTER_SECONDS", 0.1)
    with (
        host(lambda seen: (503, b"", {"Retry-After": wait})) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryUnavailableError, match="it answers 503"),
    ):
        repository.has_blob(DIGEST)
    assert len(registry.seen) == 2


PLACES = ["https://[::1", "http://a:99999/", "\x7f://", "https://" + "a" * 100 + ".org/", "http://\x01/",
          "", "mailto:a@b", "https://a b/", "//", "https://xn--a/"]  # fmt: skip


@each("place", PLACES)
def test_an_odd_location_is_an_error_like_others(place):
    def answer(seen: Seen) -> Answer:
        return (404, b"", {}) if seen.method == "HEAD" else (202, b"", {"Location": place})

    with (
        host(answer) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError),
    ):
        repository.push_blob(b"payload", DIGEST)


def test_what_a_registry_complains_of_is_cut_short():
    body = json.dumps({"errors": [{"code": "X", "message": "y" * 50_000}]}).encode()
    with (
        host(lambda seen: (400, body, {})) as registry,
        Repository(registry.name, "acme") as repository,
        pytest.raises(exceptions.RegistryError) as caught,
    ):
        repository.has_blob(DIGEST) or repository.get_blob(DIGEST)
    assert len(caught.value.reason) <= 1_000


LETTERS = 32_000


@each(
    "text",
    ["a" * LETTERS, "a=" * LETTERS, 'a="' * LETTERS, "a " * LETTERS, 'a="\\' * LETTERS,
     "a\\" * LETTERS,
     "." * LETTERS, "a-" * LETTERS, "a_" * LETTERS, "a/" * LETTERS, "=" * LETTERS, " " * LETTERS],
)  # fmt: skip
def test_patterns_are_linear(text):
    began = time.monotonic()
    challenge_of(f"Bearer {text}")
    is_repository(text)
    assert time.monotonic() - began < 1
