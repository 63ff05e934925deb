"""The contract of outcomes for deployments: served by a flow, and run by a worker of a pool."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import State

from tests.support import outcome_tasks
from tests.support.outcome_tasks import every_outcome, with_a_kill
from tests.support.outcomes import CUT_OFF, OK, check_every_outcome, new_key, table_of
from tests.support.reading import Sealed
from tests.support.started import experiment_of, running, until
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server")

SCRIPT = Path(outcome_tasks.__file__)


@contextlib.contextmanager
def served(folder: Path):
    """`flow.serve()` in another process."""
    with running(SCRIPT, "flows", log=folder / "served.log"):
        yield "served"


@contextlib.contextmanager
def worked(folder: Path):
    """A process work pool, and a worker."""
    name = f"pool-{folder.name.lower().replace('_', '-')}"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    for each in (every_outcome, with_a_kill):
        entrypoint = f"{SCRIPT.name}:{each.fn.__name__}"
        remote = each.from_source(source=str(SCRIPT.parent), entrypoint=entrypoint)
        remote.deploy(name, work_pool_name=name, print_next_steps=False)
    command = ["-m", "prefect", "worker", "start", "--pool", name]
    with running(*command, log=folder / "worker.log"):
        yield name


@pytest.fixture(scope="module", params=[worked, *full(served)])
def deployment(request, server, tmp_path_factory):
    with request.param(tmp_path_factory.mktemp(request.param.__name__)) as name:
        yield name


def run_deployment(flow_name: str, name: str, **parameters: Any) -> Sealed:
    """Run a deployment, and wait for what its hook seals."""
    with get_client(sync_client=True) as client:
        deployment = until(lambda: _deployment(client, f"{flow_name}/{name}"))
        created = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    experiment_of(str(created.id))
    return Sealed(State.model_construct(), str(created.id))


def _deployment(client, name):
    with contextlib.suppress(Exception):
        return client.read_deployment_by_name(name)
    return None


def test_every_outcome_of_a_deployment_is_in_the_artifact(deployment):
    check_every_outcome(run_deployment("every-outcome", deployment, key=new_key()))


@pytest.mark.full  # tests/flows/test_three_nights.py kills a deployment's process in any case
def test_a_deployment_whose_process_was_killed_is_sealed_by_another_one(deployment, tmp_path):
    sealed = run_deployment("with-a-kill", deployment, marker=str(tmp_path / "once"))
    assert table_of(sealed) == {"ok": [OK], "dies_once": [CUT_OFF]}
    assert sealed.experiment.status == "interrupted"
    assert sealed.column("pid") == [None, None]  # what an open Run had logged is lost
