"""A night records its environment once, and each of its solves how many ran at once."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import uuid

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from ommx_prefect import flow
from ommx_prefect._flowrun.environment import _git, environment_here
from ommx_prefect._solver.supervised import CpuClock, _running
from ommx_prefect.analysis import environment_of
from ommx_prefect.solvers import solve
from ommx_prefect.solvers._solve import solve_in
from tests.support.reading import run_flow
from tests.support.solving import eight_capacities, recorded, slow_instance
from tests.support.started import until


def test_the_environment_is_that_of_this_machine():
    found = environment_here()
    assert found["cores"] == os.cpu_count()
    assert found["python"] == platform.python_version()
    assert found["solvers"]["highspy"] == importlib.metadata.version("highspy")
    assert found["packages"]["ommx"] == importlib.metadata.version("ommx")
    assert found["memory_mb"] > 100


def test_the_code_is_known_by_its_commit_and_whether_it_was_changed(tmp_path):
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert _git(tmp_path) == {}
    git("init", "-q")
    file = tmp_path / "night.py"
    file.write_text("1")
    git("add", ".")
    git("commit", "-qm", "night")
    assert _git(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    file.write_text("2")
    assert _git(tmp_path)["dirty"] is True


@pytest.mark.parametrize(
    ("told", "image"),
    [
        ({"image": "ghcr.io/acme/nightly@sha256:" + "1" * 64}, "ghcr.io/acme/nightly@sha256:1111"),
        ({"image": None}, None),
        ({}, None),
    ],
)
def test_the_image_of_a_container_is_the_one_that_the_deployment_names(told, image):
    flow_run = FlowRun(flow_id=uuid.uuid4(), job_variables=told)
    with FlowRunContext.model_construct(flow_run=flow_run, flow=None):
        found = environment_here().get("container", "")
    assert found.startswith(image) if image else found in ("", "unknown image")


def test_cpu_seconds_are_those_of_the_solver_or_unknown():
    until(lambda: not _running or None)  # CBC computes on after an earlier test
    with CpuClock() as first:
        sum(range(3_000_000))
    assert 0 < first.of(1) <= first.of(8) * 1.5
    with CpuClock() as first, CpuClock() as second:
        sum(range(1_000_000))
    assert first.of(8) is second.of(8) is None
    assert second.of(1) > 0
    found = recorded(solve_in, "highs", eight_capacities(), limits={"threads": 1}).parameters
    assert 0 < found["cpu_seconds"] < found["solve_seconds"] + 1
    assert "solves_at_once" not in found  # there is no flow run


@pytest.mark.usefixtures("server")
def test_a_night_records_its_environment_once_and_its_solves_who_was_there():
    @flow
    def night():
        limits = {"time_limit_seconds": 4, "threads": 1}
        first = [solve.submit("highs", slow_instance(), seed=i, **limits) for i in range(2)]
        for each in first:
            each.wait()
        solve("highs", eight_capacities(), seed=3)

    sealed = run_flow(night)
    assert sealed.column("solves_at_once") == [2, 2, 1]
    experiment = sealed.experiment
    assert environment_of(experiment)["cpu"] == environment_here()["cpu"]
    assert [x for x in experiment.attachment_names if "environment" in x] == ["environment"]
    annotations = experiment.annotations
    assert len(annotations["org.ommx-prefect.git-commit"]) == 40
    assert annotations["org.ommx-prefect.git-dirty"] in ("true", "false")
    assert annotations["org.ommx-prefect.os"] == platform.platform()
