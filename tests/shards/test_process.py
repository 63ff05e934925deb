"""Whether a process lives: asked of psutil, on every system."""

from __future__ import annotations

import builtins
import io
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ommx_prefect._shards import process
from ommx_prefect._shards.process import host_name, process_start, whereabouts


@dataclass(frozen=True)
class Known:
    host: str
    pid: int
    process_start: str


@pytest.fixture
def no_proc(monkeypatch):
    """A system without `/proc`, as far as this package sees; psutil asks macOS and Windows."""

    def without(original):
        def opened(file, *args, **kwargs):
            asks = sys._getframe(1).f_globals.get("__name__", "")
            if str(file).startswith("/proc") and not asks.startswith("psutil"):
                raise FileNotFoundError(file)
            return original(file, *args, **kwargs)

        return opened

    monkeypatch.setattr(builtins, "open", without(open))
    if accessor := getattr(pathlib, "_NormalAccessor", None):  # of Python 3.10, which keeps its own
        monkeypatch.setattr(accessor, "open", staticmethod(without(io.open)))
    monkeypatch.setattr(io, "open", without(io.open))
    monkeypatch.setattr(process.sys, "platform", "darwin")
    with pytest.raises(FileNotFoundError):
        Path("/proc/self/stat").read_text()


def started() -> tuple[subprocess.Popen[bytes], Known]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    return child, Known(host_name(), child.pid, process_start(child.pid))


def check_life_and_death() -> None:
    child, known = started()
    assert whereabouts(known) == "alive"
    assert whereabouts(replace(known, host="another")) == "elsewhere"
    assert whereabouts(replace(known, process_start="1.000")) == "gone"  # its id was used again
    assert whereabouts(replace(known, process_start="")) == "alive"  # a record of release 0.1
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert whereabouts(known) == "gone"  # a zombie
    assert whereabouts(replace(known, process_start="")) == "gone"
    child.wait()
    assert whereabouts(known) == "gone"
    child.stdin.close()


def test_a_process_lives_until_it_is_dead():
    check_life_and_death()


@pytest.mark.usefixtures("no_proc")
def test_so_it_is_where_there_is_no_proc():
    check_life_and_death()


@pytest.mark.skipif(sys.platform != "linux", reason="the format of Linux")
def test_the_start_is_written_as_release_0_1_wrote_it():
    stat = Path("/proc/self/stat").read_text()
    assert process_start(os.getpid()) == stat.rpartition(")")[2].split()[19]
