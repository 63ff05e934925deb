"""What people see in Prefect's UI: read back from its API, as the UI does."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from ommx_prefect import current_run, exceptions, flow, load_experiment, seal, task
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._reporting.events import OLD_SEAL_FAILED
from ommx_prefect._sealing import runs_table as _table
from ommx_prefect._stages.roots import stage_root
from tests.support.reading import run_flow, shown_of

PATIENCE_SECONDS = 30


@task(log_output=False)
def note(x):
    current_run().log_parameter("x", x)


@task
def damage(flow_run_id):
    path = next((stage_root() / flow_run_id / "shards").iterdir())
    path.write_bytes(b"broken")
    return str(path)


@flow
def damaged():
    from prefect.runtime import flow_run

    note(1)
    return damage(flow_run.id)


def events_of(server, name, flow_run_id):
    wanted = {"filter": {"event": {"name": [name]}}, "limit": 50}
    found = httpx.post(f"{server}/events/filter", json=wanted).raise_for_status().json()
    resource = f"prefect.flow-run.{flow_run_id}"
    return [e for e in found["events"] if e["resource"]["prefect.resource.id"] == resource]


def test_a_seal_that_fails_is_an_event_and_an_artifact_that_name_the_cause(server):
    state = damaged(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (events := events_of(server, OLD_SEAL_FAILED, flow_run_id)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert state.is_completed()
    assert len(events) == 1
    for said in (events[0]["payload"]["error"], shown_of(flow_run_id)["ommx-experiment"]):
        assert state.result() in said
        assert f"ommx_prefect.seal('{flow_run_id}')" in said


@pytest.mark.usefixtures("server")
def test_a_large_table_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(_table, "MOST_ROWS", 50)

    @flow
    def one():
        note.map(range(_table.MOST_ROWS + 3)).wait()

    sealed = run_flow(one)
    found = shown_of(sealed.flow_run_id)
    rows = json.loads(found["ommx-runs"])
    assert len(sealed.runs) == _table.MOST_ROWS + 3
    assert [row["run"] for row in rows] == list(range(_table.MOST_ROWS))
    sentence = (
        f"The table shows the first {_table.MOST_ROWS} of {len(sealed.runs)} Runs, the worst first."
    )
    assert sentence in found["ommx-experiment"]


@pytest.mark.usefixtures("server")
def test_a_damaged_experiment_is_one_clear_error():
    @flow
    def one():
        note(1)

    sealed = run_flow(one)
    digest = seal(sealed.flow_run_id).manifest_digest
    manifest = registry_root() / "blobs" / "sha256" / digest.removeprefix("sha256:")
    manifest.write_bytes(b"{")
    with pytest.raises(exceptions.UnreadableError, match="restore it from a backup"):
        load_experiment(sealed.flow_run_id)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("name", ["flow.json", "sealed.json"])
def test_a_damaged_document_of_the_stage_is_named(name):
    @flow
    def one():
        note(1)

    sealed = run_flow(one)
    path = stage_root() / sealed.flow_run_id / name
    path.write_bytes(b"{")
    with pytest.raises(exceptions.OmmxPrefectError, match=f"{path} is damaged"):
        seal(sealed.flow_run_id)
