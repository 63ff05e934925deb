"""The distributed example runs as a user runs it, and its workers' Runs are in the artifact."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import require
from tests.support.tiers import full

SCRIPT = Path(__file__).resolve().parents[2] / "flows" / "distributed_solves.py"
READ = """
from ommx.experiment import Experiment
e = Experiment.load({name!r})
frame = e.run_parameters_df()
print(e.status, *(run.status for run in e.runs))
print(*frame["outcome"])
print(*frame["process"])
print(*(run.solves[0].output.feasible for run in e.runs))
"""


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return started(environment, sys.executable, str(SCRIPT), *arguments)


def started(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.full
def test_a_newcomers_run_on_dask_ends_cleanly_and_two_processes_are_in_the_artifact(own_place):
    require("prefect_dask")
    done = run(own_place)
    assert done.returncode == 0
    assert done.stderr == ""
    (name,) = re.findall(r"^Sealed (\S+)$", done.stdout, re.MULTILINE)
    command = [sys.executable, "-c", READ.format(name=name)]
    printed = subprocess.check_output(command, env=own_place, text=True).splitlines()
    statuses, outcomes, processes, feasible = (line.split() for line in printed)
    assert statuses == ["finished"] * 7
    assert outcomes == ["optimal"] * 6
    assert feasible == ["True"] * 6
    assert len(set(processes)) == 2
    assert all(process in done.stdout for process in processes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:9"], "no Dask scheduler answers"),
        *full(
            (["--runner", "threads", "--scheduler", "tcp://127.0.0.1:9"], "only --runner dask"),
            (["--runner", "threads", "--experiment", "Not A Name"], "Not A Name"),
        ),
    ],
)
def test_what_cannot_run_is_said_in_words(own_registry, arguments, said):
    require("prefect_dask")
    done = run(own_registry, *arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())


def test_solves_that_fail_are_opened_by_the_line_that_is_printed(own_registry):
    code = (
        f"import sys; sys.path.append({str(SCRIPT.parent)!r}); import distributed_solves as script;"
        "script.TIME_LIMIT_SECONDS = -1; script.typer.run(script.main)"
    )
    done = started(own_registry, sys.executable, "-c", code, "--runner", "threads")
    assert done.returncode == 1
    assert "The solves did not end well" in done.stderr
    (line,) = re.findall(r'python -c "(.*)"', done.stdout)
    assert "restore_from_checkpoint" in line
    assert started(own_registry, sys.executable, "-c", line).stdout.count("error") == 6


def test_a_missing_extra_is_one_sentence_with_its_cure(own_place, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u, importlib.abc, sys\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'prefect_ray' else find(name, *rest)\n"
    )
    done = run({**own_place, "PYTHONPATH": str(tmp_path)}, "--runner", "ray")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = " ".join(done.stderr.replace("│", " ").split())
    assert "prefect_ray is not installed: pip install prefect-ray" in said
