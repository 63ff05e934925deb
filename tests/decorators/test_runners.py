"""One contract for all task runners and background tasks: every outcome is in the artifact."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ommx.experiment import Experiment
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from tests.support import outcome_tasks
from tests.support.outcome_tasks import (
    every_outcome,
    under_seal_hooks,
    with_a_kill,
    with_a_kill_in_a_retry,
)
from tests.support.outcomes import (
    CUT_OFF,
    FAILED,
    OK,
    OUTCOMES,
    check_every_outcome,
    new_key,
    table_of,
)
from tests.support.places import require
from tests.support.reading import run_flow
from tests.support.started import running, until
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server")

SCRIPT = Path(outcome_tasks.__file__)
CHECKOUT = SCRIPT.parents[2]
# Dask and Ray execute the task of a worker that died again.
LOST = ("interrupted", "Superseded", 1)


# ---------------------------------------------------------------- clusters


@pytest.fixture(scope="module")
def ray_here():
    """One local Ray for all tests; a flow takes the instance that is there."""
    require("prefect_ray")
    import ray

    _start_ray(ray)
    yield
    ray.shutdown()


def _start_ray(ray, times=6):
    """Start it; on a busy machine it may give itself up, for its own agents take too long."""
    paths = {"env_vars": {"PYTHONPATH": str(CHECKOUT)}}  # where pytest finds this suite
    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=paths)
    except Exception:
        ray.shutdown()
        if times == 1:
            raise
        _start_ray(ray, times - 1)


@pytest.fixture(scope="module")
def dask_address(tmp_path_factory):
    """A Dask cluster that somebody else started: its workers know neither registry nor server."""
    require("prefect_dask")
    folder = tmp_path_factory.mktemp("dask")
    ours = ("OMMX_", "PREFECT_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    env |= {"HOME": str(folder), "PYTHONPATH": str(CHECKOUT)}
    place = ["--scheduler-file", folder / "scheduler.json", "--no-dashboard", "--host", "127.0.0.1"]
    size = ["--nworkers", 2, "--nthreads", 1, "--local-directory", folder]
    dask = ["-m", "dask"]
    with (
        running(*dask, "scheduler", *place, "--port", 0, log=folder / "scheduler.log", env=env),
        running(*dask, "worker", *place, *size, log=folder / "worker.log", env=env),
    ):
        yield _address_of(folder / "scheduler.json")


def _address_of(file: Path) -> str:
    import json

    from distributed import Client

    until(lambda: True if file.exists() and file.read_text().endswith("}") else None)
    address: str = json.loads(file.read_text())["address"]
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=240)
    return address


@pytest.fixture(params=["threads", "processes", "dask cluster", *full("dask", "ray")])
def runner(request):
    """Its name, and the task runner."""
    return request.param, runner_of(request.param, request)


def runner_of(name, request):
    if name == "threads":
        return ThreadPoolTaskRunner(max_workers=4)
    if name == "processes":
        return ProcessPoolTaskRunner(max_workers=2)
    if name == "ray":
        request.getfixturevalue("ray_here")
        from prefect_ray import RayTaskRunner

        return RayTaskRunner()
    require("prefect_dask")
    from prefect_dask import DaskTaskRunner

    if name == "dask":
        size = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
        return DaskTaskRunner(cluster_kwargs=size)
    return DaskTaskRunner(address=request.getfixturevalue("dask_address"))


# ---------------------------------------------------------------- task runners


def test_every_outcome_is_in_the_artifact(runner):
    _, task_runner = runner
    check_every_outcome(run_flow(every_outcome.with_options(task_runner=task_runner), new_key()))


@pytest.mark.parametrize(
    ("name", "then", "runs"),
    [
        ("processes", "ends", [CUT_OFF]),
        ("dask cluster", "raises", [LOST, FAILED]),
        *full(("dask", "ends", [LOST, OK]), ("ray", "ends", [LOST, OK])),
    ],
)
def test_an_attempt_whose_worker_was_killed_is_interrupted(request, tmp_path, name, then, runs):
    killed = with_a_kill.with_options(task_runner=runner_of(name, request))
    sealed = run_flow(killed, str(tmp_path / "once"), then)
    assert table_of(sealed) == {"ok": [OK], "dies_once": runs}
    assert sealed.experiment.status == ("failed" if runs == [CUT_OFF] else "finished")
    lost = sealed.runs[1].lifecycle_reason
    assert re.match(r"cut off: its process \d+ on \S+ ended before the attempt did; ", lost)
    assert lost.endswith("Prefect's last state is Running" if runs == [CUT_OFF] else "again")
    assert sealed.ledger["warnings"] == []


@pytest.mark.parametrize("name", ["dask cluster", *full("ray")])
def test_all_attempts_of_an_execution_that_was_lost_are_superseded(request, tmp_path, name):
    killed = with_a_kill_in_a_retry.with_options(task_runner=runner_of(name, request))
    sealed = run_flow(killed, str(tmp_path / "once"))
    first = [("failed", "Superseded", 1), ("interrupted", "Superseded", 2)]
    assert table_of(sealed) == {"dies_in_its_retry": [*first, OK]}


def test_workers_that_serve_several_registries_record_in_that_of_the_flow(dask_address, tmp_path):
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / "another")}
    command = [sys.executable, str(SCRIPT), "dask", dask_address]
    printed = subprocess.check_output(command, env=env, text=True, timeout=240)
    assert int(printed.split()[-1]) == sum(map(len, OUTCOMES.values()))
    ours = every_outcome.with_options(task_runner=dask_runner(dask_address))
    check_every_outcome(run_flow(ours, new_key()))


def dask_runner(address):
    from prefect_dask import DaskTaskRunner

    return DaskTaskRunner(address=address)


def test_records_that_are_out_of_reach_are_missed_aloud(dask_address):
    from distributed import Client

    with Client(dask_address, set_as_default=False) as client:
        client.restart()  # the flows before have told these workers which registry to use
    sealed = run_flow(under_seal_hooks.with_options(task_runner=dask_runner(dask_address)))
    ends = sorted(zip(sealed.statuses, sealed.column("prefect.state"), strict=True))
    assert ends == [("failed", "Failed"), ("finished", "Completed")]  # either may begin first
    warnings = sealed.ledger["warnings"]
    assert ["lost or out of reach" in warning for warning in warnings] == [True, True]
    assert sealed.experiment.annotations["org.ommx-prefect.degraded"]


@pytest.mark.full
def test_the_example_runs_on_a_cluster_that_does_not_have_its_folder(dask_address):
    example = CHECKOUT / "flows" / "distributed_solves.py"
    command = [sys.executable, str(example), "--scheduler", dask_address]
    printed = subprocess.check_output(command, text=True, timeout=240)
    (name,) = re.findall(r"^Sealed (\S+)$", printed, re.MULTILINE)
    sealed = Experiment.load(name)
    assert [run.status for run in sealed.runs] == ["finished"] * 6
    assert set(sealed.run_parameters_df()["outcome"]) == {"optimal"}


# ---------------------------------------------------------------- background tasks


def test_every_outcome_of_a_background_task_is_in_the_artifact(tmp_path):
    with running(SCRIPT, "tasks", log=tmp_path / "tasks.log"):
        sealed = run_flow(every_outcome, new_key(), delay=True)
    check_every_outcome(sealed)


def test_a_background_task_whose_process_was_killed_is_interrupted(tmp_path):
    with running(SCRIPT, "tasks", log=tmp_path / "tasks.log") as process:
        sealed = run_flow(with_a_kill, str(tmp_path / "once"), delay=True)
        process.wait(240)
    assert table_of(sealed) == {"ok": [OK], "dies_once": [CUT_OFF]}
