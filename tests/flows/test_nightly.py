"""The nights of `flows/nightly.py`: green, red with names, and what is deployed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest
import yaml
from ommx.experiment import Experiment
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectAlreadyExists
from prefect.logging import disable_run_logger
from pydantic import ValidationError

from ommx_prefect._reporting import events
from ommx_prefect._targets.annotations import FLOW_NAME, FLOW_RUN_ID, SCHEDULED_TIME
from tests.support.nights import log_run
from tests.support.started import until

ROOT = Path(__file__).parents[2]
FLOWS, INSTANCES = ROOT / "flows", ROOT / "tests/data/instances"
WORSE = {"presolve": "off", "simplex_iteration_limit": 0}
DEPLOYED = {
    "nightly/nightly",
    "nightly-report/report",
    "nightly-missing/missing",
    "nightly-recovery/recovery",
    "nightly-prune/prune",
}


@pytest.fixture(scope="module")
def nights():
    sys.path.insert(0, str(FLOWS))
    try:
        import nightly
    finally:
        sys.path.remove(str(FLOWS))
    return nightly


def task_runs_of(client, flow_run_id) -> list:
    """The task runs of a flow run, once the server knows that both have ended."""
    which = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))

    def ask() -> list | None:
        found = client.read_task_runs(flow_run_filter=which)
        return found if len(found) == 2 and all(x.end_time for x in found) else None

    return until(ask)


def test_the_second_night_with_a_worse_option_is_red_and_names_it(server, nights):
    experiment = f"localhost/nightly-{uuid.uuid4().hex[:8]}"
    usual = {
        "sources": [str(INSTANCES / "afiro.mps")],
        "solvers": ["highs"],
        "experiment": experiment,
    }
    first = nights.nightly(nights.Night(**usual), return_state=True)
    assert first.is_completed(), first.message
    worse = nights.Night(**usual, options={"highs": WORSE})
    second = nights.nightly(worse, return_state=True)
    assert second.is_failed()
    assert "1 worse than the nights before" in second.message
    assert "afiro" in second.message
    assert "highs" in second.message
    third = nights.nightly(nights.Night(**usual), return_state=True)
    assert third.is_completed(), third.message  # the best of the nights before is what counts


@pytest.mark.parametrize(
    "fields",
    [{"solvers": []}, {"solvers": ["gurobi"]}, {"time_limit_seconds": 0}, {"night": 1}],
)
def test_parameters_that_make_no_night_are_refused(nights, fields):
    with pytest.raises(ValidationError):
        nights.Night(**fields)


def test_the_run_form_explains_itself(nights):
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(nights.nightly).model_dump()
    fields = schema["definitions"]["Night"]["properties"]
    assert set(fields) == set(nights.Night.model_fields)
    assert fields["time_limit_seconds"]["description"].startswith("Limit of each solve")
    assert schema["properties"]["night"]["description"]


def test_what_is_deployed_stands_in_one_file():
    document = yaml.safe_load((FLOWS / "prefect.yaml").read_text())
    found = {each["name"]: each for each in document["deployments"]}
    assert set(found) == {name.partition("/")[2] for name in DEPLOYED}
    assert found["recovery"]["schedules"] == [{"interval": 900}]
    for each in found.values():
        path, _, name = each["entrypoint"].partition(":")
        assert f"def {name}(" in (FLOWS / path).read_text()


@pytest.fixture
def undeployed(server):
    """Leave no deployment and no automation: the server is that of other tests, too."""
    yield
    with get_client(sync_client=True) as client:
        for each in client.read_automations(limit=200):
            client.delete_automation(each.id)
        for name in DEPLOYED:
            client.delete_deployment(client.read_deployment_by_name(name).id)


def test_prefect_deploys_all_of_it(server, undeployed, tmp_path):
    pool = WorkPoolCreate(name="nightly", type="process")
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(pool)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    environment = {**os.environ, "PREFECT_API_URL": server, "NIGHTLY_FOLDER": str(FLOWS)}
    done = subprocess.run(
        command, cwd=FLOWS, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        found = {name: client.read_deployment_by_name(name) for name in DEPLOYED}
    answer = httpx.post(f"{server}/automations/filter", json={"limit": 200}, timeout=60)
    rules = {each["name"]: each for each in answer.raise_for_status().json()}
    (nightly,) = found["nightly/nightly"].schedules
    assert nightly.schedule.cron == "0 2 * * *"
    (recovery,) = found["nightly-recovery/recovery"].schedules
    assert recovery.schedule.interval.total_seconds() == 900
    (prune,) = found["nightly-prune/prune"].schedules
    assert prune.schedule.cron == "0 12 * * 0"
    assert found["nightly/nightly"].global_concurrency_limit.limit == 1
    assert rules["no night for 26 hours"]["trigger"]["within"] == 26 * 3600
    report = rules["report on each sealed night"]
    assert report["trigger"]["expect"] == [events.SEALED]
    assert report["actions"][0]["parameters"] == {"image": "{{ event.payload.image_name }}"}


def test_a_concurrency_limit_keeps_to_the_number_of_licences(server, nights):
    sources = [str(INSTANCES / f"{name}.mps") for name in ("gen-ip054", "flugpl")]
    night = nights.Night(
        sources=sources,
        solvers=["scip"],
        time_limit_seconds=2,
        experiment=f"localhost/licences-{uuid.uuid4().hex[:8]}",
    )
    with get_client(sync_client=True) as client:
        client.create_concurrency_limit(tag="licence-scip", concurrency_limit=1)
        try:
            done = nights.nightly_solves(night, return_state=True)
        finally:
            client.delete_concurrency_limit_by_tag("licence-scip")
        assert done.is_completed(), done.message
        spans = []
        for task_run in task_runs_of(client, done.state_details.flow_run_id):
            assert task_run.tags == ["licence-scip"]
            states = client.read_task_run_states(task_run.id)
            (ran,) = [x.timestamp for x in states if x.name == "Running"]
            spans.append((ran, task_run.end_time))
    (_, first_ended), (second_began, _) = sorted(spans)
    assert first_ended <= second_began  # although there are two threads for two solves


@pytest.mark.parametrize(("cores", "worse"), [(2, 1), (64, 0)], ids=["same", "another"])
def test_times_of_another_machine_make_no_night_red(nights, cores, worse):
    repository = f"nights.local/machines-{uuid.uuid4().hex[:8]}"
    for tag, number, factor in (("one", 2, 1.0), ("two", cores, 50.0)):
        night = Experiment(f"{repository}:{tag}")
        for name, value in {
            FLOW_NAME: "nightly-solves",
            SCHEDULED_TIME: f"2026-11-30T0{'one two'.index(tag)}:00:00+00:00",
            FLOW_RUN_ID: (flow_run_id := str(uuid.uuid4())),
        }.items():
            night.set_annotation(name, value)
        night.log_json("environment", {"host": "here", "cores": number})
        for seconds in range(1, 13):
            log_run(
                night,
                instance=f"i{seconds}",
                adapter="OMMXHighsAdapter",
                sense="minimize",
                outcome="optimal",
                objective=1.0,
                solve_seconds=seconds * factor,
            )
        night.commit()
    with disable_run_logger():
        said = nights.compare_with_earlier(flow_run_id, nights.Night(experiment=repository))
    assert len(said) == worse
