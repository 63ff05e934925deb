"""Clients of Prefect's API: what they verify its server with."""

from __future__ import annotations

import ssl

from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import (
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    PREFECT_API_URL,
    temporary_settings,
)

from ommx_prefect._prefect.api import api_client

URL = "https://127.0.0.1:9/api"


def verified_with(client: SyncPrefectClient) -> ssl.SSLContext:
    return client._client._transport._pool._ssl_context


def contexts(settings=None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with temporary_settings({PREFECT_API_URL: URL, **(settings or {})}):
        with api_client() as one:
            first = verified_with(one)
        with api_client() as another:
            return first, verified_with(another)


def test_the_trusted_certificates_are_read_once():
    first, second = contexts()
    assert first is second
    assert first.verify_mode == ssl.CERT_REQUIRED
    assert first.check_hostname
    assert first.get_ca_certs()


def test_other_certificates_are_those_that_the_settings_name(tmp_path):
    usual, _ = contexts()
    known = usual.get_ca_certs(binary_form=True)[-1]
    file = tmp_path / "own.pem"
    file.write_text(ssl.DER_cert_to_PEM_cert(known))
    own, _ = contexts({PREFECT_API_SSL_CERT_FILE: str(file)})
    assert own is not usual
    assert own.get_ca_certs(binary_form=True) == [known]


def test_a_server_that_need_not_be_verified_is_not():
    first, second = contexts({PREFECT_API_TLS_INSECURE_SKIP_VERIFY: True})
    assert first.verify_mode == second.verify_mode == ssl.CERT_NONE
