"""Where the crash suite plays: a Prefect server that can die, processes, and patience."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.crash.judge import lines_of
from tests.support.ending import stop

HERE = Path(__file__).resolve().parent
FLOWS = HERE / "flow.py"
PATIENCE_SECONDS = 600


@dataclasses.dataclass
class Suite:
    """Where it all happens, and the chance that says when.

    Attributes:
        folder: For everything that a case leaves.
        server: The Prefect server; None where it is somebody else's.
        chance: Says when to kill.
        every: Of the points of sealing, every n-th is tried.
    """

    folder: Path
    server: Server | None
    chance: random.Random
    every: int = 1
    number: int = 0

    def journal(self) -> Path:
        """Return the path of a new journal."""
        self.number += 1
        return self.folder / f"journal-{self.number}"

    def new_folder(self, name: str) -> Path:
        """Return a new folder for a case."""
        self.number += 1
        folder = self.folder / f"{name}-{self.number}"
        folder.mkdir()
        return folder

    def wait_for_steps(self, journal: Path, most: int = 25) -> None:
        """Wait until a random moment: some steps have ended, and another one runs."""
        wanted = self.chance.randint(1, most)
        until(lambda: count(journal, "ended") >= wanted, "steps end")
        time.sleep(self.chance.uniform(0, 0.05))


class Server:
    """A Prefect server on 127.0.0.1 that can be killed and started again on its port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = (folder / "server.log").open("ab")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        until(self._answers, "the server answers")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # its own session, started above
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False


# ---------------------------------------------------------------- processes


def python(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start Python with arguments, quietly."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running(*arguments: object, env: dict[str, str] | None = None) -> Iterator[Any]:
    """Run Python with arguments beside the block, which may kill it or wait for its end."""
    process = python(*arguments, env=env)
    try:
        yield process
    finally:
        stop(process)


# ---------------------------------------------------------------- waiting


def count(journal: Path, kind: str) -> int:
    """Return how many lines of a kind a journal has."""
    return sum(line[0] == kind for line in lines_of(journal))


def flow_of(journal: Path) -> tuple[str, int]:
    """Return the flow run's id, and the process that runs it now, once it has begun."""
    began = until(lambda: [x for x in lines_of(journal) if x[0] == "flow"], "the flow began")
    return began[-1][1], int(began[-1][2])


def working_pids(journal: Path) -> list[int]:
    """Return the processes in which steps began, the latest last."""
    pids = [int(x[3]) for x in lines_of(journal) if x[0] == "began"]
    return sorted(set(pids), key=lambda pid: len(pids) - 1 - pids[::-1].index(pid))


def until(ask: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in {seconds} s: {what}")
