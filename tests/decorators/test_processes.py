"""Recording across processes: background tasks, served flows, and what Prefect's runner does."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import uuid

import ommx
import pytest
from prefect import get_client
from prefect.cache_policies import INPUTS
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelling
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import current_run, flow, task
from ommx_prefect._stages.local import LocalStage
from tests.support.models import knapsack
from tests.support.reading import run_flow
from tests.support.started import experiment_of, start, stop, until

pytestmark = pytest.mark.usefixtures("server")

SERVED = """
import sys, time
from prefect.runtime import flow_run
from prefect.task_worker import serve
from ommx_prefect import current_run, flow, task
from ommx_prefect._stages.local import LocalStage

@task
def background(x):
    current_run().log_parameter("x", x)
    return x

@task
def lasting(x):
    time.sleep(3)
    return x

@flow
def ends_too_early():
    lasting.delay(5)
    while not LocalStage(flow_run.id).starts():
        time.sleep(0.1)

@task
def slow():
    current_run().log_parameter("before", 1)
    time.sleep(60)

@flow(experiment="ghcr.io/acme/served:{flow_run.name}")
def nightly():
    background(1)
    slow()

if __name__ == "__main__":
    if sys.argv[1] == "task":
        serve(background, lasting)
    else:
        nightly.serve(name="served")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    # One file for all tests: the key of a task names the file, and a worker serves that key.
    path = tmp_path_factory.mktemp("served") / "served.py"
    path.write_text(textwrap.dedent(SERVED))
    return path


def imported(script):
    """The script as a module, for what it defines."""
    sys.path.insert(0, str(script.parent))
    try:
        return importlib.import_module(script.stem)
    finally:
        sys.path.pop(0)


def test_a_delayed_task_outside_flows_is_recorded_by_the_process_that_serves_it(script):
    background = imported(script).background
    worker = start(script, "task")
    try:
        future = background.delay(5)
        experiment = experiment_of(future.task_run_id)
        assert experiment.run_parameters_df()["x"].tolist() == [5]
        assert experiment.runs[0].get_json("output") == 5
    finally:
        stop(worker)


def test_a_task_delayed_in_a_flow_extends_its_experiment(script):
    background = imported(script).background

    @flow
    def one():
        background(1)
        background.delay(2)

    sealed = run_flow(one)
    worker = start(script, "task")
    try:
        experiment = experiment_of(sealed.flow_run_id, runs=2)
        assert sorted(experiment.run_parameters_df()["x"]) == [1, 2]
    finally:
        stop(worker)


def test_a_task_that_ends_while_the_seal_asks_prefect_has_its_record(script):
    ends_too_early = imported(script).ends_too_early
    worker = start(script, "task")
    try:
        sealed = run_flow(ends_too_early)
        assert sealed.statuses == ["finished"]
        assert sealed.runs[0].get_json("output") == 5
        assert "org.ommx-prefect.degraded" not in sealed.experiment.annotations
    finally:
        stop(worker)


def test_a_cancelled_flow_that_is_served_is_sealed_by_whatever_process_runs_its_hook(script):
    served = start(script, "flow")
    try:
        with get_client(sync_client=True) as client:
            flow_run_id = _run_deployment(client)
            until(lambda: _pid_of_slow(flow_run_id))
            client.set_flow_run_state(uuid.UUID(flow_run_id), Cancelling(), force=True)
            experiment = experiment_of(flow_run_id)
    finally:
        stop(served)
    assert experiment.status == "interrupted"
    assert [run.status for run in experiment.runs] == ["finished", "interrupted"]
    assert experiment.runs[0].get_json("output") == 1


def _run_deployment(client: SyncPrefectClient) -> str:
    def ask():
        try:
            return client.read_deployment_by_name("nightly/served")
        except Exception:
            return None

    deployment = until(ask)
    return str(client.create_flow_run_from_deployment(deployment.id).id)


def _pid_of_slow(flow_run_id):
    starts = {attempt.task: attempt.pid for attempt in LocalStage(flow_run_id).starts()}
    return starts.get("slow")


@task
def objective_bound(instance: ommx.Instance) -> ommx.Instance:
    current_run().log_parameter("variables", instance.num_variables)
    return instance


def test_instances_pass_through_process_pools_and_persisted_results():
    persisted = objective_bound.with_options(persist_result=True, cache_policy=INPUTS)

    @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
    def one(salt: int):
        first = persisted.submit(knapsack()).result()
        second = persisted.submit(knapsack()).result()
        return first.num_variables + second.num_variables

    sealed = run_flow(one, 1)
    assert sealed.state.result() == 6
    assert sealed.column("prefect.state")[1] == "Cached"
    assert sealed.runs[0].get_instance("output").num_variables == 3
    assert sealed.runs[1].get_instance("output").num_variables == 3


MOVES = """
import os, sys
from ommx_prefect import current_run, flow, load_experiment, task

@task
def moves(folder):
    current_run().log_json("here", os.getcwd())
    os.chdir(folder)

@flow
def one():
    for folder in sys.argv[1:]:
        moves(folder)

os.chdir(sys.argv.pop(1))
state = one(return_state=True)
print([run.status for run in load_experiment(state.state_details.flow_run_id).runs])
"""


def test_a_relative_registry_stays_where_it_is_when_a_task_changes_the_folder(tmp_path):
    folders = [tmp_path / name for name in ("start", "a", "b")]
    for folder in folders:
        folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MOVES, *map(str, folders)],
        cwd=folders[0],
        env={**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": "registry"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "['finished', 'finished']", done.stderr
    assert [folder.name for folder in folders if (folder / "registry").exists()] == ["start"]
