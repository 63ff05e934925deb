"""Automations are told what became of a night, by events with bounds, and of whom they are."""

from __future__ import annotations

import re
import time
import uuid

import httpx
import prefect
import pytest

from ommx_prefect import flow, load_experiment, seal, task
from ommx_prefect._reporting import events
from tests.documents.pages import page
from tests.support.reading import run_flow

PATIENCE_SECONDS = 120


@prefect.task(asset_deps=["s3://data/instances.csv"])
def read_data():
    return 1


@task
def solve(x, token=""):
    if x < 0:
        raise ValueError(f"x={x} with {token}" + "!" * 3000)
    return x


def payload_documented(event: str) -> set[str]:
    """The names that the reference has for what an event of a kind carries."""
    rows = page("docs/reference/events.md").table_below("## Events")
    said = {row[0].strip("`"): row[2] for row in rows}
    text = said[events.RUN_FAILED] if said[event] == "the same" else said[event]
    return set(re.findall("`([a-z_]+)`", text))


def events_of(server: str, flow_run_id: str, wanted: str, least: int) -> list[dict]:
    """The events of ours that are related to a flow run, of one kind, as the server keeps them.

    Each carries what the reference says, and nothing else.
    """
    filters = {
        "event": {"prefix": ["ommx-prefect."]},
        "related": {"id": [f"prefect.flow-run.{flow_run_id}"]},
    }
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        query = {"filter": filters, "limit": 50}
        answer = httpx.post(f"{server}/events/filter", json=query, timeout=60).raise_for_status()
        found = [each for each in answer.json()["events"] if each["event"] == wanted]
        if len(found) >= least:
            known = payload_documented(wanted)
            assert [x["payload"] for x in found if set(x["payload"]) != known] == []
            return found
        assert time.monotonic() < deadline, f"{wanted}: {len(found)} of {least}"
        time.sleep(0.3)


def events_about(server: str, resource: str) -> list[dict]:
    """The events of one resource, once there is one."""
    query = {"filter": {"resource": {"id": [resource]}}, "limit": 50}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = httpx.post(f"{server}/events/filter", json=query, timeout=60).raise_for_status()
        if found := answer.json()["events"]:
            return found
        assert time.monotonic() < deadline, f"no event of {resource}"
        time.sleep(0.3)


def roles(event: dict) -> dict[str, str]:
    return {x["prefect.resource.role"]: x["prefect.resource.id"] for x in event["related"]}


def our_roles(event: dict) -> set[str]:
    """The roles of what an event of a flow run is related to.

    Prefect 3.9.1 adds, to all events of a process, the task run that emitted its first one, and its
    tags, where that was before any outside tasks, such as a heartbeat.
    """
    return set(roles(event)) - {"task-run", "tag"}


def test_a_night_tells_what_was_sealed_what_failed_and_that_it_was_not_pushed(server):
    name = f"localhost:9/acme/n{uuid.uuid4().hex[:8]}:one"

    @flow(experiment=name, push=True, name="told night")
    def night(token: str):
        read_data()
        for x in range(-30, 2):
            solve.submit(x, token).wait()
        return "done"

    secret = f"sesame-{uuid.uuid4().hex}"
    sealed = run_flow(night, secret)
    seal_again = seal(sealed.flow_run_id)
    (told,) = events_of(server, sealed.flow_run_id, events.SEALED, 1)
    experiment = load_experiment(sealed.flow_run_id)
    assert told["payload"] == {
        "image_name": name,
        "digest": seal_again.manifest_digest,
        "status": "finished",
        "runs": {"failed": 30, "finished": 2},
        "pushed": False,
        "opens_with": f'Experiment.load("{name}")',
        "warnings_count": len(seal_again.warnings),
        "warnings": list(seal_again.warnings[: events.MOST_SAID]),
    }
    resource = told["resource"]
    assert resource["prefect.resource.id"] == f"ommx-prefect.experiment.{sealed.flow_run_id}"
    assert resource["prefect.resource.name"] == name
    assert roles(told)["flow-run"] == f"prefect.flow-run.{sealed.flow_run_id}"
    assert our_roles(told) == {"flow-run", "flow"}
    assets = events_about(server, f"oci://{name.rpartition(':')[0]}")
    assert [x["payload"]["digest"] for x in assets] == [seal_again.manifest_digest]
    assert {"asset", "asset-materialized-by", "flow-run"} <= set(roles(assets[0]))
    assert roles(assets[0])["asset"] == "s3://data/instances.csv"
    (not_pushed,) = events_of(server, sealed.flow_run_id, events.PUSH_FAILED, 1)
    assert not_pushed["payload"]["mend"] == f"ommx-prefect seal {sealed.flow_run_id}"
    assert not_pushed["payload"]["error"]
    failed = events_of(server, sealed.flow_run_id, events.RUN_FAILED, events.MOST_RUN_EVENTS)
    assert len(failed) == events.MOST_RUN_EVENTS
    for event in failed:
        run = experiment.runs[event["payload"]["run_id"]]
        assert run.status == "failed"
        assert event["payload"]["reason"][:900] == run.lifecycle_reason[:900]
        assert len(event["payload"]["reason"]) <= events.LONGEST
        assert event["resource"]["prefect.resource.id"].startswith("prefect.task-run.")
    assert secret not in str([told, not_pushed, *failed])


@pytest.mark.parametrize("deployed", [True, False])
def test_events_are_related_to_flow_run_flow_and_deployment(deployed):
    ids = [str(uuid.uuid4()) for _ in range(3)]
    facts = events.FlowRunFacts(ids[0], "run", ids[1], "flow", ids[2] if deployed else "", "d")
    wanted = ["flow-run", "flow", "deployment"][: 3 if deployed else 2]
    found = events.related_to(facts)
    assert [x["prefect.resource.role"] for x in found] == wanted
    assert [x["prefect.resource.id"] for x in found] == [
        f"prefect.{role}.{each}" for role, each in zip(wanted, ids, strict=False)
    ]
