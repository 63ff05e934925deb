"""Count the solves of a flow run that run at once on a host, and record its environment once.

Solves of one flow run on one host know of each other by small files in the host's temporary
folder: `<flow run>/<process>-<number>`, one for each solve that runs. Whoever makes the folder
records the environment of this host.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from ommx_prefect._decorators.flow_experiment import add_part
from ommx_prefect._flowrun.environment import environment_here
from ommx_prefect._flowrun.host_folder import host_folder
from ommx_prefect._recording.current import CurrentRecording, note_here
from ommx_prefect._registry.files import make_folder
from ommx_prefect._solver.telemetry import ENVIRONMENT
from ommx_prefect._targets.annotations import PREFIX

OLD_SECONDS = 7 * 24 * 3600
LOOK_SECONDS = 1.0
_numbers = itertools.count()


class Concurrency:
    """How many solves of this flow run have run on this host at once.

    Attributes:
        most: The most that were seen while this one ran, itself among them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next = 0.0
        self.most = 1

    def look(self) -> None:
        """Count the solves that run now, once in a while."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_SECONDS
        names = [x.name for x in self._folder.glob("*-*")]
        alive = [name for name in names if _is_alive(name.partition("-")[0])]
        self.most = max(self.most, len(alive))


@contextlib.contextmanager
def counted(recording: CurrentRecording | None) -> Iterator[Concurrency | None]:
    """Count a solve among those that run at once; None outside a flow run."""
    if recording is None or not recording.attempt.flow_run_id:
        yield None
        return
    try:
        folder = host_folder("solves") / recording.attempt.root_flow_run_id
        make_folder(folder)
        file = folder / f"{os.getpid()}-{next(_numbers)}"
        file.touch()
    except OSError:
        yield None
        return
    _record_once(folder, recording)
    concurrency = Concurrency(folder)
    try:
        concurrency.look()
        yield concurrency
        concurrency.look()
    finally:
        file.unlink(missing_ok=True)


def _record_once(folder: Path, recording: CurrentRecording) -> None:
    try:
        (folder / ENVIRONMENT).touch(exist_ok=False)
        _tidy(folder.parent)
    except OSError:
        return
    try:
        record_environment(recording)
    except Exception as error:
        note_here(f"the environment is not recorded: {type(error).__name__}: {error}")


def record_environment(recording: CurrentRecording) -> None:
    """Record the environment of this host in the experiment of the flow run."""
    found = environment_here()
    told = {
        **{f"git-{name}": str(value).lower() for name, value in found.get("git", {}).items()},
        "cpu": f"{found.get('cores')} x {found.get('cpu')}",
        "os": found["os"],
    }
    annotations = {f"{PREFIX}{name}": text for name, text in told.items()}
    add_part(recording.attempt, {ENVIRONMENT: found}, annotations)


def _tidy(parent: Path) -> None:
    """Remove the folders of flow runs that ended long ago."""
    long_ago = time.time() - OLD_SECONDS
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < long_ago:
                shutil.rmtree(folder)


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and psutil.pid_exists(int(pid))
