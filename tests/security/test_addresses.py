"""A name or an answer of a registry that is another address leads nowhere."""

from __future__ import annotations

import httpx
import pytest

from ommx_prefect import exceptions
from ommx_prefect._oci.addresses import AddressError, address_in
from ommx_prefect._oci.repository import Repository
from tests.support.cases import each
from tests.support.evil_registry import host, storing

pytestmark = pytest.mark.usefixtures("no_credentials", "brief_waits")

HTTPS, LOCAL = "https://ghcr.io/v2/acme/", "http://127.0.0.1:5000/v2/acme/"


@each(
    "base,given",
    [
        (HTTPS, "http://ghcr.io/v2/"),
        (HTTPS, "http://127.0.0.1:6379/"),
        (HTTPS, "http://localhost/"),
        (HTTPS, "http://169.254.169.254/latest/meta-data/"),
        (LOCAL, "http://example.org/"),
        (LOCAL, "http://127.0.0.1.example.org/"),
        (LOCAL, "http://127.٠.٠.١/"),
        (HTTPS, "ftp://ghcr.io/"),
        (HTTPS, "file:///etc/passwd"),
        (HTTPS, "javascript:alert(1)"),
        (HTTPS, "https://alice:pw@evil.example.org/"),
        (HTTPS, "https://ghcr.io:99999/"),
        (HTTPS, "https://[::1"),
        (HTTPS, "https://xn--\x00/"),
        (HTTPS, "https://a/" + "x" * 20_000),
    ],
)
def test_nothing_is_sent_to_an_address_that_is_refused(base, given):
    with pytest.raises(AddressError):
        address_in(httpx.URL(base), given)


@each(
    "base,given,url",
    [
        (HTTPS, "https://cdn.example.org/a?b=c", "https://cdn.example.org/a?b=c"),
        (HTTPS, "/v2/x", "https://ghcr.io/v2/x"),
        (HTTPS, "?n=1", "https://ghcr.io/v2/acme/?n=1"),
        (HTTPS, "//cdn.example.org/a", "https://cdn.example.org/a"),
        (LOCAL, "http://localhost:9000/a", "http://localhost:9000/a"),
        ("http://[::1]:5000/v2/", "/v2/x", "http://[::1]:5000/v2/x"),
    ],
)
def test_this_is_where_an_answer_may_send_us(base, given, url):
    assert str(address_in(httpx.URL(base), given)) == url


@each(
    "registry", ["127.0.0.1:80@evil.example.org", "evil.example.org/x", "ghcr.io?a", "ghcr.io#", ""]
)
def test_a_registry_whose_name_is_another_address_is_refused(registry):
    with pytest.raises(exceptions.RegistryError):
        Repository(registry, "acme/night")


@each("path", ["../token", "a/../b", "a?b", "a b", "A", "", "a//b", "a" * 300])
def test_a_repository_whose_name_is_another_address_is_refused(path):
    with pytest.raises(exceptions.RegistryError, match="no name of a repository"):
        Repository("ghcr.io", path)


@each("reference", ["../../token", "one/two", "a b", "", "sha256:../..", "x" * 200])
def test_a_reference_that_is_another_address_is_asked_nowhere(reference):
    with host(storing()) as registry, Repository(registry.name, "acme") as repository:
        for ask in (
            repository.get_manifest,
            repository.delete_manifest,
            repository.has_blob,
            repository.get_blob,
            lambda x: repository.push_blob(b"", x),
            lambda x: repository.mount_blob(x, "acme/other"),
        ):
            with pytest.raises(exceptions.RegistryError, match=r"is no digest|neither a digest"):
                ask(reference)
        assert registry.seen == []
