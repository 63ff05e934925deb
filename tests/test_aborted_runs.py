"""A test run that is aborted, in whatever way, leaves no process and no folder behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import endless, watchdog
from tests.support.started import until
from tests.support.tiers import full

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc here"),
]
OUTER = (watchdog.VARIABLE, "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST", "PREFECT_API_URL")
WAYS = [(signal.SIGKILL, 2), (signal.SIGTERM, 0), (signal.SIGINT, 1)]


@pytest.mark.parametrize(("by", "workers"), [WAYS[0], *full(*WAYS[1:])])
def test_an_aborted_run_leaves_nothing_behind(tmp_path, by, workers):
    said = tmp_path / "said.json"
    env = {name: value for name, value in os.environ.items() if name not in OUTER}
    options = ["-p", "no:cacheprovider", "-n", str(workers), endless.__file__]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options],
            env={**env, "ENDLESS_SAYS": str(said)}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: True if said.exists() or run.poll() is not None else None)
        assert said.exists(), (tmp_path / "log").read_text()
        told = json.loads(said.read_text())
        started = set(watchdog.processes_of(told["folder"]))
    finally:
        run.send_signal(by)
        run.wait()
    assert told["pid"] in started
    assert len(started) >= 2 + workers  # the server; the workers of the run
    until(lambda: None if any(watchdog.processes_of(told["folder"])) else True)
    until(lambda: None if Path(told["folder"]).exists() else True)
