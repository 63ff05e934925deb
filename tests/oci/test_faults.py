"""A registry that is down, silent, busy or wrong, and the client that waits in bounds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

import httpx
import pytest

from ommx_prefect import exceptions
from ommx_prefect._oci import blobs, transport
from ommx_prefect._oci.names import (
    digest_of,
)
from ommx_prefect._oci.repository import Repository
from ommx_prefect._oci.retries import RetryTable, retrying
from tests.support.registry_server import running_registry
from tests.support.scripted_server import Handler, answering

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture
def quick(monkeypatch):
    """Waits that a test can wait for."""
    table = {"attempts": 4, "timeout": 20.0, "wait_initial": 0.05, "wait_jitter": 0.05}
    for name, value in table.items():
        monkeypatch.setitem(transport.RETRY, name, value)


@pytest.mark.server
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
    monkeypatch.setattr(transport, "TIMEOUT", httpx.Timeout(0.5))
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


@pytest.mark.server
def test_a_registry_that_comes_back_gets_the_blob(tmp_path):
    with running_registry(tmp_path / "r") as server, Repository(server.host, "acme") as repository:
        server.stop()
        back = threading.Timer(1.0, server.start)
        back.start()
        assert repository.push_blob(b"layer", digest_of(b"layer"))
        back.join()
        assert repository.get_blob(digest_of(b"layer")) == b"layer"


@pytest.mark.server
@pytest.mark.usefixtures("quick")
def test_an_upload_whose_session_a_restart_lost_begins_anew(tmp_path, monkeypatch):
    data = os.urandom(1000)
    with running_registry(tmp_path / "r") as server, Repository(server.host, "acme") as repository:
        locate = blobs.upload_address
        lost: list[int] = []

        def restarted_in_between(connection, answer):
            if not lost:
                lost.append(1)
                server.restart()  # its secret is a new one: what it signed is void
            return locate(connection, answer)

        monkeypatch.setattr(blobs, "upload_address", restarted_in_between)
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


def test_a_retry_is_told_in_words(caplog):
    def away() -> None:
        raise exceptions.RegistryUnavailableError("ghcr.io", "acme/night", "it cannot be reached")

    table: RetryTable = {
        "attempts": 2,
        "timeout": 5.0,
        "wait_initial": 0.01,
        "wait_max": 0.01,
        "wait_jitter": 0.0,
    }
    with pytest.raises(exceptions.RegistryUnavailableError):
        retrying(table, away)
    (told,) = caplog.messages
    assert told == (
        "A registry did not answer; attempt 2 follows in 0.01 s. "
        "ghcr.io/acme/night: it cannot be reached"
    )
