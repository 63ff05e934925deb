"""The nightly benchmark as a newcomer starts it: a script, with no server and an empty registry."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ommx_prefect._stages.roots import stage_root
from tests.support.instance_files import TINY, instance_file
from tests.support.killed_solves import incumbents

sys.path.append(str(Path(__file__).resolve().parents[2] / "flows"))
import solver_benchmark

from tests.support.tiers import full

SCRIPT = Path(solver_benchmark.__file__)


def test_prefect_finds_the_flow_by_its_entrypoint_from_any_folder(own_place, tmp_path):
    code = (
        "from prefect.flows import load_flow_from_entrypoint as load;"
        f"print(load({str(SCRIPT) + ':solver_benchmark'!r}).name)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, env=own_place, cwd=tmp_path, text=True)
    assert found == "solver-benchmark\n"


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **streams)


def in_place(environment: dict[str, str], code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, text=True)


def test_a_newcomers_run_ends_cleanly_and_its_line_opens_what_it_sealed(own_place, tmp_path):
    (tmp_path / "tiny.mps").write_text(TINY)
    (tmp_path / "empty.mps").touch()
    page = tmp_path / "night.html"
    more = ["--variant", "highs:presolve=off", "--report", str(page), "--compare-with", "latest"]
    process = start(own_place, str(tmp_path), "--seeds", "1,2", "--time-limit", "5", *more)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0
    assert errors == ""
    assert "Traceback" not in output
    (line,) = re.findall(r'python -c "(.*)"', output)
    assert "tiny" in in_place(own_place, line)
    (name,) = re.findall(r"^Sealed (\S+)$", output, re.MULTILINE)
    counted = f"from ommx.experiment import Experiment as E; print(len(E.load('{name}').runs))"
    assert int(in_place(own_place, counted)) == 3 * 2 + 1
    text = page.read_text()
    assert "presolve=off" in text
    assert name in text


@pytest.mark.full
def test_a_second_night_is_compared_with_the_one_before(own_registry, tmp_path):
    (tmp_path / "tiny.mps").write_text(TINY)
    told = [str(tmp_path), "--adapter", "highs", "--experiment", "localhost/tests/again"]
    for number in range(2):
        process = start(own_registry, *told, "--compare-with", "latest")
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert ("Compared with localhost/tests/again:" in output) is (number == 1)
    assert "1 same" in output
    assert "\\n" not in output  # a line break is one, and not written out


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_ctrl_c_keeps_what_is_done_and_leaves_no_traceback(own_place):
    process = start(own_place, "--adapter", "highs", "--time-limit", "3", "--seeds", "1,2,3,4")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("mkp-"):  # HiGHS 1.16 says hello first
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in output + errors
    (line,) = re.findall(r"Experiment\.(restore_from_checkpoint\(.*\))", errors)
    found = in_place(
        own_place, f"from ommx.experiment import Experiment as E; print(len(E.{line}.runs))"
    )
    assert 1 <= int(found) < 6 * 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--compare-with", "localhost:9/nobody/has:this"],
        *full(
            ["--experiment", "Not A Name"],
            ["--report", "no-such-folder/night.html"],
            ["--adapter", "gurobi"],
            ["--compare-with", "Not A Name"],
        ),
    ],
)
def test_what_cannot_run_at_all_is_said_in_words(own_registry, arguments):
    process = start(own_registry, *arguments)
    output, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "Traceback" not in output + errors
    assert arguments[1] in errors


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        (["missing"], "the first of 1: no such file or folder"),
        *full(
            (["nothing"], "the first of 1: no instance file in this folder"),
            (["missing", "gone.mps"], "the first of 2: no such file or folder"),
        ),
    ],
)
def test_a_benchmark_that_could_read_nothing_fails_says_why_and_how_it_is_opened(
    own_registry, tmp_path, sources, reason
):
    (tmp_path / "nothing").mkdir()
    process = start(own_registry, *(str(tmp_path / each) for each in sources))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in output + errors
    assert "no source holds an instance" in errors
    assert reason in errors
    (line,) = re.findall(r'python -c "(.*)"', output)
    assert "unreadable" in in_place(own_registry, line)


def test_a_killed_benchmark_leaves_the_best_solution_so_far(server):
    before = {x.name for x in stage_root().glob("*")}
    given = ["--adapter", "highs", "--time-limit", "120", "--checkpoint-seconds", "0.2"]
    process = start(dict(os.environ), str(instance_file("gen-ip054.mps")), *given)
    try:
        while not (found := list(left({x.name for x in stage_root().glob("*")} - before))):
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert min(found) >= 6840.96  # the optimum, of feasible solutions


def left(flow_runs: set[str]) -> Iterator[float]:
    for flow_run_id in flow_runs:
        yield from (objective for _, objective in incumbents(flow_run_id))
