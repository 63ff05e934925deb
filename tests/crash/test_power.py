"""Some moments at which the power fails; what a disk keeps then; and that the comparison sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import disk, syscalls
from tests.crash.power import judged

CHECKOUT = Path(__file__).resolve().parents[2]


def _may_trace():
    """Tell whether there is a strace that works: a container may forbid it. In CI it has to be."""
    if not shutil.which("strace"):
        return bool(os.environ.get("CI"))
    command = ["strace", "-f", "-o", os.devnull, "true"]
    return subprocess.run(command, capture_output=True).returncode == 0


WITH_STRACE = pytest.mark.skipif(not _may_trace(), reason="there is no strace that works")


@WITH_STRACE
@pytest.mark.server
@pytest.mark.timeout(900)
def test_what_was_promised_is_there_after_the_power_failed():
    command = [sys.executable, "-m", "tests.crash.power", "--every", "60", "--at", "10"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 power failures lost or doubled something" in done.stdout
    assert done.stdout.count("'right'") == 6, done.stdout  # each end, under each setting


# ---------------------------------------------------------------- the disk

PROGRAM = """
import os, sys
place = sys.argv[1]
def put(name, data, flush=False):
    number = os.open(f"{place}/{name}", os.O_CREAT | os.O_WRONLY)
    os.write(number, data)
    if flush:
        os.fsync(number)
    os.close(number)
os.mkdir(f"{place}/below")
put("below/flushed", b"1" * 5000, flush=True)
put("written", b"2")
put("long", b"3" * 9000)
os.rename(f"{place}/below/flushed", f"{place}/renamed")
"""
FLUSH_OF_ALL = """
import ctypes
ctypes.CDLL(None).syncfs(os.open(f"{place}/below", os.O_RDONLY))"""
FLUSH_OF_A_FOLDER = """os.fsync(os.open(f"{place}/below", os.O_RDONLY))"""


def ends(folder, last=""):
    """Let a program change files, and the power fail after that; return the sizes that are left."""
    trace, place = folder / "trace", folder / "place"
    place.mkdir()
    own = [sys.executable, "-S", "-c", PROGRAM + last, str(place)]
    subprocess.run([*syscalls.command(trace), *own], check=True)
    model = disk.Disk(place)
    for call in syscalls.read_calls(trace):
        model.apply(call)
    return {end: _sizes(model, end, folder / end) for end in disk.ENDS}


def _sizes(model, end, built):
    built.mkdir()
    model.build(end, built)
    files = (path for path in built.rglob("*") if path.is_file())
    return {str(path.relative_to(built)): path.stat().st_size for path in files}


@WITH_STRACE
def test_what_was_not_flushed_is_empty_in_part_or_has_no_name(tmp_path):
    found = ends(tmp_path)
    assert found[disk.NAMES_KEPT] == {"renamed": 5000, "written": 0, "long": 0}
    assert found[disk.IN_PART] == {"renamed": 5000, "written": 0, "long": 4096}
    assert found[disk.NAMES_LOST] == {"below/flushed": 5000}


@WITH_STRACE
def test_a_flush_of_a_folder_keeps_names_and_no_contents(tmp_path):
    found = ends(tmp_path, FLUSH_OF_A_FOLDER)
    assert found[disk.NAMES_LOST] == {"renamed": 5000, "written": 0, "long": 0}


@WITH_STRACE
def test_a_flush_of_the_file_system_keeps_all_that_was_written(tmp_path):
    whole = {"renamed": 5000, "written": 1, "long": 9000}
    assert ends(tmp_path, FLUSH_OF_ALL) == dict.fromkeys(disk.ENDS, whole)


# ---------------------------------------------------------------- the comparison

JOURNAL = ["flow x", "began a", "kept a", "ended a", "began b", "kept b"]
WHOLE = ["a", "finished", 0, ""]
CUT_OFF = ["b", "interrupted", None, ""]
REST = {"status": "finished", "waits": [], "names": [], "kept": ["b"]}


def test_what_was_promised_is_right():
    assert judged(JOURNAL, {**REST, "runs": [WHOLE, CUT_OFF]}) == []
    assert judged([*JOURNAL, "began c"], {**REST, "runs": [WHOLE, CUT_OFF]}) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("Traceback", "the seal failed"),
        ({**REST, "runs": [CUT_OFF]}, "a is lost"),
        ({**REST, "runs": [WHOLE]}, "the checkpoint of b is lost"),
        ({**REST, "runs": [WHOLE, CUT_OFF], "kept": []}, "the checkpoint of b is lost"),
        ({**REST, "runs": [WHOLE, WHOLE, CUT_OFF]}, "a has 2 Runs"),
        ({**REST, "runs": [WHOLE, ["b", "finished", 7, ""]]}, "b is finished with 7"),
        ({**REST, "runs": [WHOLE, CUT_OFF], "waits": ["x"]}, "waits is"),
    ],
)
def test_what_is_lost_or_wrong_is_seen(found, said):
    assert any(problem.startswith(said) for problem in judged(JOURNAL, found))
