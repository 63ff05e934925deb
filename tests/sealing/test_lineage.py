"""A night that follows the previous one names it as the OCI subject of its manifest."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from ommx.experiment import Experiment
from prefect import get_client
from prefect.flow_engine import run_flow as run_prefect_flow

from ommx_prefect import flow, seal, task
from ommx_prefect._registry.blobs import read_blob
from ommx_prefect._sealing.lineage import Series
from tests.support.reading import run_flow

BASE = datetime(2026, 11, 1, 2, tzinfo=timezone.utc)


@task
def one(fail):
    if fail:
        raise ValueError("red")
    return 1


def manifest_of(sealed) -> dict:
    return json.loads(read_blob(sealed.manifest_digest))


def subject_of(sealed) -> str | None:
    return manifest_of(sealed).get("subject", {}).get("digest")


def play(night, day: int, **parameters):
    """Run a flow as if it had been scheduled for a day, and return its seal."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.states import Scheduled

    with get_client(sync_client=True) as client:
        flow_run: FlowRun = client.create_flow_run(
            night, parameters=parameters, state=Scheduled(scheduled_time=BASE + timedelta(day))
        )
    run_prefect_flow(night, flow_run, parameters=parameters, return_type="state")
    return seal(flow_run.id)


def test_nights_follow_the_last_finished_one_that_was_scheduled_before(server):
    repository = f"localhost/lineage/{uuid.uuid4().hex[:8]}"

    @flow(experiment=repository, lineage="previous", name=f"lineage-{uuid.uuid4().hex[:8]}")
    def night(fail: bool = False):
        one(fail)

    first = play(night, 1)
    second = play(night, 2)
    red = play(night, 3, fail=True)
    missed_one = play(night, 5)
    overlapping = play(night, 4)  # it was scheduled before, and ends later
    same_minute = play(night, 5)
    assert [subject_of(first), subject_of(second)] == [None, first.manifest_digest]
    assert subject_of(red) == second.manifest_digest
    assert [x.status for x in Experiment.restore_from_checkpoint(red.image_name).runs] == ["failed"]
    assert subject_of(missed_one) == second.manifest_digest
    assert subject_of(overlapping) == second.manifest_digest
    assert subject_of(same_minute) == overlapping.manifest_digest
    size = manifest_of(second)["subject"]["size"]
    assert size == len(read_blob(first.manifest_digest))
    assert Experiment.load(second.image_name).status == "finished"
    assert seal(second.flow_run_id).manifest_digest == second.manifest_digest


@pytest.mark.usefixtures("server")
def test_without_lineage_there_is_no_subject():
    @flow(experiment=f"localhost/lineage/{uuid.uuid4().hex[:8]}", name="plain")
    def night():
        one(False)

    for _ in range(2):
        assert subject_of(seal(run_flow(night).flow_run_id)) is None


def test_a_lineage_that_nobody_knows_is_refused_at_once():
    with pytest.raises(TypeError, match="neither 'previous' nor 'accumulate' nor None"):
        flow(lineage="next")(lambda: None)


@pytest.mark.parametrize("time", ["", "soon", "2026-11-29T02:00:00", "2026-11-29"])
def test_an_experiment_that_was_scheduled_at_no_known_moment_is_before_none_and_stops_none(time):
    other, night = (
        Series(x, "", "nightly", "localhost/nights", at)
        for x, at in (("a", time), ("b", "2026-11-30T02:00:00+00:00"))
    )
    assert not other.is_before(night)
    assert not night.is_before(other)
