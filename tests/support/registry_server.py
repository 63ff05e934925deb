"""A real OCI registry for tests: Debian's docker-registry on 127.0.0.1, run while needed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

USER = "alice"
PASSWORD = "correct-horse-battery"
PROGRAMS = ("docker-registry", "htpasswd")
START_SECONDS = 240


@dataclass
class RegistryServer:
    """A registry that runs, or was stopped and can come back with what it had."""

    host: str
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://{self.host}/v2/"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        command = ["docker-registry", "serve", str(self.folder / "config.json")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(self.url, timeout=5, trust_env=False).status_code in (200, 401):
                    return
            time.sleep(0.05)
        pytest.fail(f"the registry did not start:\n{self.log}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(240)
            self.process = None

    def kill(self) -> None:
        """Let it die in the middle of whatever it does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(240)
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()


@contextlib.contextmanager
def running_registry(
    folder: Path,
    *,
    password: str | None = None,
    allow_delete: bool = True,
    auth: Mapping[str, Any] | None = None,
) -> Iterator[RegistryServer]:
    """Run a registry whose files lie in a folder.

    Args:
        folder: An empty folder, made if need be.
        password: Of the user `USER`, by htpasswd; None lets everybody in.
        allow_delete: Whether manifests may be deleted.
        auth: The `auth` section of its configuration, instead of a password.
    """
    require_programs()
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{_free_port()}"
    config = {
        "version": 0.1,
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": allow_delete},
        },
        "http": {"addr": host},
        **({"auth": auth} if auth else {}),
        **({"auth": _htpasswd(folder, password)} if password else {}),
    }
    # YAML reads JSON.
    (folder / "config.json").write_text(json.dumps(config))
    server = RegistryServer(host, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def require_programs() -> None:
    """Skip where the registry is not installed, and fail in CI, which must not skip this."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing} must be installed in CI (apt-get install: see .ci/run)")
    if missing:
        pytest.skip(f"no {missing} here: apt-get install docker-registry apache2-utils")


def _htpasswd(folder: Path, password: str) -> dict[str, Any]:
    # -i reads the password from stdin, -B is the only hash that docker-registry takes.
    command = ["htpasswd", "-niB", USER]
    line = subprocess.run(command, input=password.encode(), capture_output=True, check=True).stdout
    (folder / "htpasswd").write_bytes(line)
    return {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
