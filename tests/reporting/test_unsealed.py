"""A flow run that recovery cannot seal: its page, its event, and the command that mends it."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path

import pytest
from prefect import get_client

from ommx_prefect import flow, seal, task
from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.prefect_answer import connect
from ommx_prefect._recovery.recover import Recovered, Recovery, recover_one
from ommx_prefect._reporting import events, unsealed
from ommx_prefect._stages.roots import stage_root
from tests.reporting.test_events import events_of
from tests.reporting.test_pages import artifacts_of
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@task
def damage(flow_run_id: str, kept: str):
    path = next((stage_root() / flow_run_id / "shards").iterdir())
    Path(kept).write_bytes(path.read_bytes())
    path.write_bytes(b"broken")
    return str(path)


@task
def one():
    return 1


def damaged_flow_run(kept: Path, name: str = "") -> tuple[str, Path]:
    """Run a flow whose only finished record is damaged, and return its id and the record."""
    name = name or f"damaged-{uuid.uuid4().hex[:8]}"

    @flow(experiment=f"localhost/{name}", name=name)
    def night(kept: str):
        from prefect.runtime import flow_run

        one()
        return damage(flow_run.id, kept)

    state = night(str(kept), return_state=True)
    return str(state.state_details.flow_run_id), Path(state.result())


def recovered(flow_run_id: str, **how) -> Recovered:
    with contextlib.ExitStack() as stack:
        (row,) = recover_one(flow_run_id, Recovery(min_age_seconds=0, **how), connect(stack))
    return row


def pages_of(flow_run_id: str) -> list:
    """Its pages, the newest first."""
    return [x for x in artifacts_of(flow_run_id) if x.type == "markdown" and x.key]


def test_what_recovery_cannot_seal_is_shown_once_told_and_mended(server, tmp_path):
    flow_run_id, record = damaged_flow_run(tmp_path / "kept")
    mend = f"ommx-prefect seal {flow_run_id}"
    (failed,) = events_of(server, flow_run_id, events.SEAL_FAILED, 1)
    assert failed["payload"]["mend"] == mend
    assert str(record) in failed["payload"]["error"]
    (by_hook,) = pages_of(flow_run_id)

    assert recovered(flow_run_id, dry_run=True).done == "failed"
    assert pages_of(flow_run_id) == [by_hook]
    for _ in range(3):
        row = recovered(flow_run_id)
        assert row.done == "failed"
    page = pages_of(flow_run_id)[0]
    assert page.description == "not sealed"
    assert mend in page.data
    assert len(pages_of(flow_run_id)) == 2  # of the hook, and of three recoveries
    told = events_of(server, flow_run_id, events.SEAL_FAILED, 2)
    assert {x["payload"]["mend"] for x in told} == {mend}
    assert row.why in {x["payload"]["error"] for x in told}

    record.write_bytes((tmp_path / "kept").read_bytes())
    sealed = seal(flow_run_id)
    assert sealed.status == "finished"
    assert pages_of(flow_run_id)[0].description == "finished, 2 Runs"
    (event,) = events_of(server, flow_run_id, events.SEALED, 1)
    assert event["payload"]["digest"] == sealed.manifest_digest
    assert seal(flow_run_id) == sealed
    assert len(pages_of(flow_run_id)) == 3


def test_of_a_flow_run_that_prefect_does_not_know_an_event_tells(server, tmp_path):
    flow_run_id, record = damaged_flow_run(tmp_path / "kept")
    record.write_bytes((tmp_path / "kept").read_bytes())
    (record.parents[1] / "state.json").unlink()  # how it ended was not noted either
    with get_client(sync_client=True) as client:
        client.delete_flow_run(uuid.UUID(flow_run_id))
    row = recovered(flow_run_id)
    assert row.done == "failed"
    told = events_of(server, flow_run_id, events.SEAL_FAILED, 2)
    assert f"ommx-prefect seal {flow_run_id} --interrupted" in {x["payload"]["mend"] for x in told}


def test_the_next_night_says_how_many_are_not_sealed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(unsealed, "LEAST_AGE_SECONDS", 0.0)
    name = f"series-{uuid.uuid4().hex[:8]}"
    flow_run_id, record = damaged_flow_run(tmp_path / "kept", name)

    @flow(experiment=f"localhost/{name}", name=name)
    def night():
        one()

    (page,) = pages_of(run_flow(night).flow_run_id)
    assert page.description == "finished, 1 Run, 1 earlier flow run not sealed"
    (line,) = [x for x in page.data.splitlines() if "not sealed**" in x]
    assert "`ommx-prefect status`" in line
    assert "`ommx-prefect recover`" in line

    record.write_bytes((tmp_path / "kept").read_bytes())
    seal(flow_run_id)
    (page,) = pages_of(run_flow(night).flow_run_id)
    assert page.description == "finished, 1 Run"


def test_a_seal_by_hand_as_interrupted_renews_the_page(server, tmp_path):
    flow_run_id, record = damaged_flow_run(tmp_path / "kept")
    assert pages_of(flow_run_id)[0].description == "not sealed"
    record.write_bytes((tmp_path / "kept").read_bytes())
    (record.parents[1] / "state.json").unlink()
    sealed = seal_by_hand(flow_run_id, interrupted=True)
    assert sealed.status == "interrupted"
    assert pages_of(flow_run_id)[0].description == "interrupted, 2 Runs"
    (event,) = events_of(server, flow_run_id, events.SEALED, 1)
    assert event["payload"]["status"] == "interrupted"
    assert seal_by_hand(flow_run_id, interrupted=True) == sealed
    assert len(pages_of(flow_run_id)) == 2
