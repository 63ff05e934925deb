"""A process that outlives a test run, and ends whatever the run has left behind.

    python tests/support/watchdog.py <process id of the run> <folder of the run>

Everything that a test starts inherits `VARIABLE`, with the run's folder as its value. That finds
servers in sessions of their own, temporary servers of flow runs, and the processes of clusters,
also after the run was killed and could end nothing itself. Needs `/proc`; on other systems only
the folder is removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "TEST_RUN_FOLDER"
POLL_SECONDS = 0.2
# A process may start others while its siblings end.
PATIENCE_SECONDS = 30


def guarded_folder(prefix: str) -> Path:
    """Return a new folder for this process, which goes away with all that the process started.

    A process of a run that is guarded already gets a folder inside of that one, and no watchdog.
    """
    if above := os.environ.get(VARIABLE):
        return Path(tempfile.mkdtemp(prefix=prefix, dir=above))
    folder = tempfile.mkdtemp(prefix=prefix)
    os.environ[VARIABLE] = folder
    # A session of its own, so that Ctrl-C does not end it; the site packages are not needed.
    command = [sys.executable, "-S", "-E", __file__, str(os.getpid()), folder]
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=quiet, stdout=quiet, stderr=quiet)
    return Path(folder)


def processes_of(folder: str) -> Iterator[int]:
    """Find the processes that inherited the folder of a run, the asking one excepted."""
    wanted = f"{VARIABLE}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is not ours
            continue
        if wanted in variables and int(entry.name) != os.getpid():
            yield int(entry.name)


def watch(run: int, folder: str) -> None:
    """Wait until the run has ended, then end what it started and remove its folder."""
    while os.getppid() == run:
        time.sleep(POLL_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and (left := list(processes_of(folder))):
        for process in left:
            _kill(process)
        time.sleep(POLL_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _kill(process: int) -> None:
    with contextlib.suppress(OSError):  # it may be faster
        os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2])
