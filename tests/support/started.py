"""Processes that a test starts, ends, and waits for."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from ommx.experiment import Experiment

from ommx_prefect import exceptions, load_experiment
from tests.support.ending import stop

T = TypeVar("T")

PATIENCE_SECONDS = 240


def start(
    *command: object, log: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start Python with these arguments; what it prints goes into `log`, or nowhere."""
    arguments = [sys.executable, *map(str, command)]
    if log is None:
        return subprocess.Popen(
            arguments, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    with log.open("wb") as file:
        return subprocess.Popen(arguments, env=env, stdout=file, stderr=file)


def start_script(folder: Path, code: str) -> tuple[subprocess.Popen[str], str]:
    """Start a script that says something on its first line; return the process, and the line."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@contextlib.contextmanager
def running(*command: object, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process around a block."""
    process = start(*command, **options)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        stop(process)


def until(ask: Callable[[], T | None], patience_seconds: float = PATIENCE_SECONDS) -> T:
    """Ask until the answer is not None."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        if (found := ask()) is not None:
            return found
        time.sleep(0.3)
    raise AssertionError("nothing came in time")


def experiment_of(flow_run_id: str, runs: int = 1) -> Experiment:
    """Wait until an experiment is sealed, with as many Runs at least."""

    def ask() -> Experiment | None:
        try:
            experiment = load_experiment(flow_run_id)
        except exceptions.NotSealedError:
            return None
        return experiment if len(experiment.runs) >= runs else None

    return until(ask)
