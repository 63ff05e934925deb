"""Each kind of event, read back from the server that has it: pushed, contradicted, interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import pytest

from ommx_prefect import current_run, flow, instance_digest, load_experiment, seal, task
from ommx_prefect._reporting import events
from ommx_prefect.solvers import solve
from tests.reporting.test_events import events_of, our_roles
from tests.reporting.test_pages import WORSE, artifacts_of
from tests.support.models import knapsack
from tests.support.reading import as_rendered, run_flow

pytestmark = pytest.mark.usefixtures("no_credentials")


@task
def claim(objective: float):
    """Say of the knapsack what no solver says."""
    said = {"instance": "knapsack", "adapter": "OMMXLiarAdapter", "sense": "maximize"}
    found = {"instance_digest": instance_digest(knapsack()), "outcome": "optimal"}
    for name, value in {**said, **found, "objective": objective}.items():
        current_run().log_parameter(name, value)


@task
def cut_off():
    raise asyncio.CancelledError("cut off")


def test_what_was_pushed_what_contradicts_and_what_was_interrupted(server, registry):
    name = f"{registry.host}/acme/n{uuid.uuid4().hex[:8]}:one"

    @flow(experiment=name, push=True)
    def night():
        solve("highs", knapsack())
        claim(99.0)
        with contextlib.suppress(asyncio.CancelledError):
            cut_off()
        return "done"

    sealed = run_flow(night)
    found = seal(sealed.flow_run_id)
    about = f"ommx-prefect.experiment.{sealed.flow_run_id}"
    (pushed,) = events_of(server, sealed.flow_run_id, events.PUSHED, 1)
    assert pushed["payload"] == {"image_name": name, "digest": found.manifest_digest}
    assert pushed["resource"]["prefect.resource.id"] == about
    assert pushed["resource"]["ommx-prefect.digest"] == found.manifest_digest
    assert our_roles(pushed) == {"flow-run", "flow"}

    (contradicted,) = events_of(server, sealed.flow_run_id, events.CONTRADICTED, 1)
    said = contradicted["payload"]
    assert said["contradictions_count"] == len(said["contradictions"]) >= 1
    assert said["contradictions"][0].startswith("knapsack: ")
    assert "99" in said["contradictions"][0]
    assert said["command"] == f"ommx-prefect show {name}"
    assert contradicted["resource"]["prefect.resource.id"] == about
    page = next(x for x in artifacts_of(sealed.flow_run_id) if x.type == "markdown" and x.key)
    assert "### Contradictions" in page.data
    assert f"{said['contradictions_count']} contradiction" in page.description
    assert page.data.startswith("## Experiment finished: 1 contradiction\n")
    assert f"Solve them again: `ommx-prefect replay {name} --run 0`" in page.data
    said = "knapsack: run 0 highs says optimal 5, run 1 OMMXLiarAdapter says optimal 99"
    assert f"- {said}" in as_rendered(page.data)

    (interrupted,) = events_of(server, sealed.flow_run_id, events.RUN_INTERRUPTED, 1)
    run = load_experiment(sealed.flow_run_id).runs[2]
    assert run.status == "interrupted"
    assert interrupted["payload"]["run_id"] == 2
    assert interrupted["payload"]["task"] == "cut_off"
    assert interrupted["payload"]["reason"] == run.lifecycle_reason == "CancelledError: cut off"
    assert interrupted["payload"]["digest"] == found.manifest_digest


def test_what_another_solver_said_the_night_before_contradicts(server):
    slug = f"against-{uuid.uuid4().hex[:8]}"

    @flow(experiment=f"localhost/{slug}", name=slug)
    def night(is_true: bool):
        if is_true:
            solve("highs", knapsack())
        else:
            claim(99.0)

    first, second = run_flow(night, False), run_flow(night, True)
    before, after = (load_experiment(each.flow_run_id).image_name for each in (first, second))
    page = next(x for x in artifacts_of(second.flow_run_id) if x.type == "markdown" and x.key)
    said = f"knapsack: run 0 highs says optimal 5, {before} run 0 liar says optimal 99"
    assert f"- {said}".replace("liar", "OMMXLiarAdapter") in as_rendered(page.data)
    assert page.data.startswith("## Experiment finished: 1 contradiction\n")
    assert f"Solve them again: `ommx-prefect replay {after} --run 0`\n" in page.data
    (told,) = events_of(server, second.flow_run_id, events.CONTRADICTED, 1)
    assert told["payload"]["contradictions_count"] == 1
    assert told["payload"]["command"] == f"ommx-prefect compare {before} {after}"
    first_page = next(x for x in artifacts_of(first.flow_run_id) if x.type == "markdown" and x.key)
    assert "contradiction" not in first_page.data


def test_nights_that_are_composed_in_their_registry_are_compared_there(server, place):
    repository = place.experiment.rpartition(":")[0]

    @flow(experiment=repository, stage=place.stage, name=f"composed-{uuid.uuid4().hex[:8]}")
    def night(options: dict):
        solve("highs", knapsack(), options=options, return_state=True)
        return "done"

    first, second = (run_flow(night, options) for options in ({}, WORSE))
    before, after = (seal(each.flow_run_id) for each in (first, second))
    assert before.composed_in == after.composed_in == place.stage
    found = artifacts_of(second.flow_run_id)
    page = next(x for x in found if x.type == "markdown" and x.key)
    assert "1 worse than last night" in page.description
    assert f"against `{before.image_name}`" in page.data
    assert "- **worse**: knapsack highs" in page.data
    assert f"ommx-prefect compare {before.image_name} {after.image_name}" in page.data
    (told,) = events_of(server, second.flow_run_id, events.REGRESSED, 1)
    assert told["payload"]["before"] == before.image_name
    again = f"ommx-prefect compare {before.image_name} {after.image_name}"
    assert told["payload"]["command"] == again
