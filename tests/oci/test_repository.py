"""The registry client, against a real docker-registry."""

from __future__ import annotations

import json
import os
import pickle

import httpx
import pytest

from ommx_prefect import exceptions
from ommx_prefect._oci import tags as oci_tags
from ommx_prefect._oci.answers import MOST_DOCUMENT_BYTES
from ommx_prefect._oci.challenge import Challenge, challenge_of
from ommx_prefect._oci.names import (
    MOST_MANIFEST_BYTES,
    api_url,
    check_manifest_size,
    digest_of,
    split_name,
)
from ommx_prefect._oci.repository import Repository
from tests.support.images import MANIFEST_TYPE, push_image
from tests.support.registry_server import running_registry
from tests.support.scripted_server import Handler, answering

pytestmark = pytest.mark.usefixtures("no_credentials")


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest(repository):
    manifest = push_image(repository, "one", b"layer")
    assert repository.get_manifest("one") == manifest
    assert repository.get_manifest(digest_of(manifest)) == manifest


def test_a_blob_from_a_file_comes_back_and_is_sent_once(repository, tmp_path):
    data = os.urandom(MOST_DOCUMENT_BYTES + 17)  # more than a document may have
    path = tmp_path / "blob"
    path.write_bytes(data)
    digest = digest_of(data)
    assert not repository.has_blob(digest)
    assert repository.push_blob(path, digest)
    assert repository.has_blob(digest, len(data))
    assert not repository.push_blob(path, digest)
    assert repository.get_blob(digest, most_bytes=len(data)) == data


def test_a_blob_that_a_killed_registry_noted_in_part_is_sent_again(tmp_path):
    with running_registry(tmp_path / "r") as server, Repository(server.host, "acme") as repository:
        repository.push_blob(b"layer", digest_of(b"layer"))
        (note,) = server.folder.rglob("link")
        note.write_bytes(b"")
        address = f"{server.url}acme/blobs/{digest_of(b'layer')}"
        assert httpx.head(address).status_code == 500
        assert not repository.has_blob(digest_of(b"layer"))
        assert repository.push_blob(b"layer", digest_of(b"layer"))
        assert httpx.head(address).status_code == 200
        assert repository.get_blob(digest_of(b"layer")) == b"layer"


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


@pytest.mark.server
def test_a_registry_that_allows_no_deleting_says_so(tmp_path):
    with (
        running_registry(tmp_path / "r", allow_delete=False) as server,
        Repository(server.host, "acme") as repository,
    ):
        digest = digest_of(push_image(repository, "one", b"layer"))
        assert not repository.delete_manifest(digest)
        assert repository.tags() == ["one"]


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


def test_the_page_size_is_asked_for():
    asked: list[str] = []

    def answer(handler: Handler) -> None:
        asked.append(handler.path)
        handler.answer(200, b'{"tags": null}')

    with answering(answer) as host, Repository(host, "acme") as repository:
        assert repository.tags() == []
    assert asked == [f"/v2/acme/tags/list?n={oci_tags.TAGS_PER_PAGE}"]
