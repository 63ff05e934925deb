"""A flow in a process of its own, whose Local Registry is on a disk that can be filled."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DISK_BYTES = 24 * 2**20
BEGIN = """
import json, os, pathlib, subprocess, sys
from ommx_prefect import current_run, exceptions, flow, load_experiment, task

disk = pathlib.Path(os.environ["DISK"])
def fill():
    with (disk / "ballast").open("wb") as file:
        try:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        except OSError:
            pass
def free():
    (disk / "ballast").unlink()
def remount(mode):
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)
"""
END = """
state = one(return_state=True)
experiment = load_experiment(state.state_details.flow_run_id)
print(json.dumps({
    "state": state.name,
    "result": state.result(raise_on_failure=False),
    "statuses": [run.status for run in experiment.runs],
    "degraded": experiment.annotations.get("org.ommx-prefect.degraded", ""),
}))
"""


@contextlib.contextmanager
def small_disk(folder: Path, *more: str) -> Iterator[Path]:
    """Mount a file system of `DISK_BYTES`, with more options of it, where this machine lets us."""
    options = ["-t", "tmpfs", "-o", ",".join((f"size={DISK_BYTES}", *more)), "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on_small_disk(tmp_path: Path, body: str) -> dict[str, Any]:
    """Run the flow `one` of a script that may `fill`, `free` and `remount` its disk."""
    folder, script = tmp_path / "disk", tmp_path / "small.py"
    folder.mkdir()
    script.write_text(BEGIN + textwrap.dedent(body) + END)
    with small_disk(folder) as disk:
        env = {**os.environ, "DISK": str(disk), "OMMX_LOCAL_REGISTRY_ROOT": str(disk / "registry")}
        done = subprocess.run(
            [sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
