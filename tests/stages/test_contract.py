"""One contract for every stage: what is recorded on one host is sealed on another.

Another host is another process with a Local Registry of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import uuid

import prefect
import pytest
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import (
    checkpoint,
    current_experiment,
    current_run,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._recording.checkpoint_values import Checkpoints
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._sealing import seal as _seal
from ommx_prefect._sealing.publish import publish
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect._values.secrets import Redactor
from tests.support.models import knapsack
from tests.support.places import (
    RegistryPlace,
    assert_nothing_waits,
    folder_place,
    fsspec_place,
    local_place,
    s3_place,
)
from tests.support.reading import run_flow, sealed_of
from tests.support.stage_tasks import note
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server")

# Where the experiment of a flow run ends up with a stage in a registry: in the Local Registry
# without a name there, or in that registry.
EXPERIMENTS = {"oci": None, "oci-composed": "{host}/acme/{name}/night"}


@pytest.fixture(
    params=[
        "oci-composed",
        *full("local", "local-file-system", "remote-file-system", "s3-bucket", "oci"),
    ]
)
def place(request, tmp_path):
    name = f"place-{uuid.uuid4().hex[:8]}"
    if request.param in EXPERIMENTS:
        server = request.getfixturevalue("registry")
        experiment = EXPERIMENTS[request.param]
        experiment = experiment and experiment.format(host=server.host, name=name)
        return RegistryPlace(server, name, experiment)
    if request.param == "local":
        return local_place()
    if request.param == "local-file-system":
        return folder_place(tmp_path, name)
    make = s3_place if request.param == "s3-bucket" else fsspec_place
    return make(request.getfixturevalue("s3"), name)


@pytest.fixture
def other(place, tmp_path, monkeypatch):
    """The Local Registry of worker processes: that of another host, where hosts share the stage."""
    root = str(registry_root()) if place.stage == "local" else str(tmp_path / "other")
    monkeypatch.setenv("OMMX_LOCAL_REGISTRY_ROOT", root)
    return root


def one_process():
    return ProcessPoolTaskRunner(max_workers=1)


@task
def solve_one(number):
    run = current_run()
    run.log_instance("model", knapsack())
    run.log_parameter("registry", os.environ["OMMX_LOCAL_REGISTRY_ROOT"])
    return run.log_solve(OMMXHighsAdapter, knapsack(), verbose=False).objective + number


@task
def broken():
    current_run().log_json("before", [1, 2])
    raise ValueError("no plan")


def test_workers_with_other_registries_are_sealed_here(place, other):
    @flow(stage=place.stage, experiment=place.experiment, task_runner=one_process())
    def one():
        current_experiment().log_json("plan", {"hours": 8})
        results = [solve_one.submit(number).result() for number in (10, 20)]
        broken.submit().wait()
        return results

    sealed = run_flow(one)
    assert sealed.state.result() == [15.0, 25.0]
    assert sealed.statuses == ["finished", "finished", "failed"]
    assert sealed.column("registry") == [other, other, None]
    assert [run.get_instance("model").num_variables for run in sealed.runs[:2]] == [3, 3]
    assert [run.get_json("output") for run in sealed.runs[:2]] == [15.0, 25.0]
    solve = sealed.runs[1].solves[0]
    assert (solve.input.num_variables, solve.output.objective) == (3, 5.0)
    assert sealed.runs[2].get_json("before") == [1, 2]
    assert sealed.runs[2].lifecycle_reason == "ValueError: no plan"
    assert sealed.experiment.get_json("plan") == {"hours": 8}
    assert sealed.ledger["flow_run"]["stage"] == place.stage
    assert_nothing_waits(place, sealed.flow_run_id, other)


@task
def pre_empted():
    checkpoint(incumbent=[0, 0, 1], gap=0.9)
    for gap in (0.3, 0.1):
        checkpoint(incumbent=knapsack(), gap=gap)
    os.kill(os.getpid(), signal.SIGKILL)


@task
def checkpointed(x):
    checkpoint(bound=[x])
    return x


def test_checkpoints_of_a_worker_that_is_lost_with_its_disk_are_sealed_here(place, other):
    @flow(stage=place.stage, experiment=place.experiment, task_runner=one_process())
    def one():
        ended = checkpointed.submit(7).result()
        with contextlib.suppress(Exception):
            pre_empted.submit().result()
        if other != str(registry_root()):
            shutil.rmtree(other)
        return ended

    sealed = run_flow(one)
    assert sealed.state.result() == 7
    assert sealed.statuses == ["finished", "interrupted"]
    assert sealed.runs[0].get_json("bound") == [7]
    assert sealed.runs[1].get_instance("incumbent").num_variables == 3
    assert sealed.column("gap") == [None, 0.1]
    assert "the last of its 3 checkpoints" in sealed.runs[1].lifecycle_reason
    assert_nothing_waits(place, sealed.flow_run_id)


def test_a_checkpoint_written_while_a_seal_publishes_stays_for_the_next(place, monkeypatch):
    kept = []

    @flow(stage=place.stage, experiment=place.experiment)
    def one():
        flow_run_id = str(prefect.runtime.flow_run.id)
        # Of another host, from which nobody hears: it counts as gone.
        attempt = Attempt(
            flow_run_id, flow_run_id, 1, "", "slow", "slow-0", 1, "n", 1.0, "another-host", 1
        )
        stage = stage_of(flow_run_id)
        stage.begin(attempt)
        kept.append(Checkpoints(stage, attempt))
        kept[0].save({"gap": 0.5, "plan": [1]}, Redactor({}))

    def publish_after_another_checkpoint(*arguments):
        kept[0].save({"gap": 0.2}, Redactor({}))
        return publish(*arguments)

    monkeypatch.setattr(_seal, "publish", publish_after_another_checkpoint)
    sealed = run_flow(one)
    monkeypatch.undo()
    assert (sealed.statuses, sealed.column("gap")) == (["interrupted"], [0.5])
    assert sealed.flow_run_id in unsealed_flow_runs()  # `recover` takes it
    if place.stage != "local":
        left = [name.split("/")[1] for name in place.objects(sealed.flow_run_id)]
        assert left == ["checkpoints"]
        # As on the host that seals, where the attempt did not run.
        shutil.rmtree(LocalStage(sealed.flow_run_id).path / "checkpoints")
    assert seal(sealed.flow_run_id).counts == {"interrupted": 1}
    again = load_experiment(sealed.flow_run_id)
    assert again.run_parameters_df()["gap"].tolist() == [0.2]
    assert again.runs[0].get_json("plan") == [1]
    assert_nothing_waits(place, sealed.flow_run_id)


def test_async_flows_and_tasks_write_and_seal(place):
    @task
    async def later(x):
        await asyncio.sleep(0)
        current_run().log_json("seen", x)
        return x + 1

    @flow(stage=place.stage, experiment=place.experiment)
    async def one():
        current_experiment().log_json("kind", "async")
        note(0)
        return [await later(1), await later(2)]

    sealed = sealed_of(asyncio.run(one(return_state=True)))
    assert [run.get_json("output") for run in sealed.runs] == [{"x": 0}, 2, 3]
    assert [run.get_json("seen") for run in sealed.runs[1:]] == [1, 2]
    assert sealed.experiment.get_json("kind") == "async"
    assert_nothing_waits(place, sealed.flow_run_id)


def test_a_failed_flow_run_keeps_what_a_retry_elsewhere_needs(place):
    @flow(stage=place.stage, experiment=place.experiment)
    def one():
        note(1)
        raise ValueError("first")

    sealed = run_flow(one)
    assert sealed.experiment.status == "failed"
    waiting = {name.split("/")[1] for name in place.objects(sealed.flow_run_id)}
    assert ("shards" in waiting) is (place.stage != "local")
    assert seal(sealed.flow_run_id) == seal(sealed.flow_run_id)
