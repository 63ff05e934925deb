"""Prefect servers on 127.0.0.1: one for all processes of a test run, and others for a block."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from filelock import FileLock

START_SECONDS = 240
# On this one connection transactions take turns. In a file, five processes that create flow runs at
# a time were refused as often as not ("database is locked"), and Prefect's client gives up at last.
IN_MEMORY = "sqlite+aiosqlite:///file::memory:?cache=shared&uri=true&check_same_thread=false"
STOP_SECONDS = 60
BEFORE_OTHERS = -5


@contextlib.contextmanager
def shared_server(run: Path) -> Iterator[str]:
    """Use the server of a run, which the first process that asks starts; yield its API URL."""
    folder = _folder(run)
    with FileLock(folder / "lock"):
        url = folder / "url"
        if not url.exists():
            started, process = _started(folder)
            (folder / "pid").write_text(str(process.pid))
            url.write_text(started)
    with _in_use(url.read_text()) as used:
        yield used
        send_events()


def send_events() -> None:
    """Send what waits before a server goes: at its end this process would try for minutes."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=STOP_SECONDS)


def end_shared_server(run: Path) -> None:
    """End the server of a run that is over, if there was one."""
    pid = _folder(run) / "pid"
    if pid.exists():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(pid.read_text()))
            process.terminate()
            process.wait(STOP_SECONDS)


def said_by_shared_server(run: Path, most_bytes: int = 20_000) -> str:
    """Return the end of what the server of a run has logged: warnings and errors."""
    log = run / "server" / "log"
    return log.read_bytes()[-most_bytes:].decode(errors="replace") if log.exists() else ""


@contextlib.contextmanager
def own_server(folder: Path) -> Iterator[str]:
    """Use a server of one's own for a block; yield its API URL."""
    url, process = _started(folder)
    try:
        with _in_use(url) as used:
            yield used
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _folder(run: Path) -> Path:
    folder = run / "server"
    folder.mkdir(exist_ok=True)
    return folder


def _started(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a server that knows nothing yet, with a log in a folder; wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    # Its UI has to be told where the API is, unless that is on port 4200.
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": IN_MEMORY,
        "PREFECT_UI_API_URL": url,
        "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true",
    }
    environment.pop("PREFECT_API_URL", None)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    with contextlib.suppress(PermissionError):  # all wait for it, and it for nobody
        os.setpriority(os.PRIO_PROCESS, process.pid, BEFORE_OTHERS)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=10).status_code == 200:
                return url, process
        time.sleep(0.2)
    process.kill()
    process.wait()
    pytest.fail("the Prefect server did not start:\n" + (folder / "log").read_text())


@contextlib.contextmanager
def _in_use(url: str) -> Iterator[str]:
    """Make a server the one of this process and of what it starts."""
    before = os.environ.get("PREFECT_API_URL")
    _set_url(url)
    try:
        yield url
    finally:
        _set_url(before)


def _set_url(url: str | None) -> None:
    """Tell Prefect of a change, in threads without a context of settings as well.

    Flow runs have no heartbeats then: each would wait up to a second for the thread that sends
    them to end (Prefect 3.9.1).
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    if url is None:
        os.environ.pop("PREFECT_API_URL", None)
    else:
        os.environ["PREFECT_API_URL"] = url
    refresh_global_settings_context()
    get_current_settings().flows.heartbeat_frequency = None
