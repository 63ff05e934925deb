"""Nights follow the one before, here and in an OCI registry, whichever host has sealed them."""

from __future__ import annotations

import json
import shutil
import uuid
from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest
from ommx.artifact import list_artifacts, remove_image
from ommx.experiment import Experiment
from prefect import get_client
from prefect.flow_engine import run_flow as run_prefect_flow

from ommx_prefect import earlier_experiments, flow, load_experiment, seal, task
from ommx_prefect._registry.blobs import read_blob
from ommx_prefect._reporting import events
from ommx_prefect._sealing.accumulate import FOLLOWS_NONE
from ommx_prefect._sealing.composed import MOST_READ, tags_to_read
from ommx_prefect._sealing.lineage import Series
from ommx_prefect._stages.roots import stage_root
from ommx_prefect.solvers import solve
from tests.reporting.test_events import events_of, roles
from tests.reporting.test_pages import WORSE, artifacts_of
from tests.sealing.test_accumulate import nights_in, of_each, series
from tests.sealing.test_lineage import BASE, play
from tests.support.models import knapsack
from tests.support.reading import run_again
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server", "no_credentials")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@task
def fail_if(red):
    if red:
        raise ValueError("red")


def nights_at(place, lineage: str = "previous", **options):
    """A flow of a solve, whose nights are composed in a place."""
    repository = place.experiment.rpartition(":")[0]
    name = f"night-{uuid.uuid4().hex[:8]}"

    @flow(name=name, experiment=repository, stage=place.stage, lineage=lineage, **options)
    def night(options: dict | None = None, fail: bool = False):
        solve("highs", knapsack(), options=options or {}, return_state=True)
        fail_if(fail)

    return night


def manifest_bytes(place, sealed, reference: str = "") -> bytes:
    """The manifest of a night, as the registry gives it to anybody; of a Local Registry's, its."""
    if not sealed.composed_in and place.stage == "local":
        return read_blob(sealed.manifest_digest)
    where, _, tag = sealed.image_name.partition("/")[2].rpartition(":")
    url = f"http://{place.server.host}/v2/{where}/manifests/{reference or tag}"
    answer = httpx.get(url, headers={"Accept": MANIFEST}, trust_env=False).raise_for_status()
    assert answer.headers["Docker-Content-Digest"] == sealed.manifest_digest
    return answer.content


def manifest_of(place, sealed) -> dict:
    return json.loads(manifest_bytes(place, sealed))


def subject_of(place, sealed) -> dict | None:
    return manifest_of(place, sealed).get("subject")


def descriptor_of(place, sealed) -> dict:
    """What a night that follows this one has to name."""
    size = len(manifest_bytes(place, sealed, sealed.manifest_digest))
    return {"mediaType": MANIFEST, "digest": sealed.manifest_digest, "size": size}


def page_of(sealed):
    pages = [x for x in artifacts_of(sealed.flow_run_id) if x.type == "markdown" and x.key]
    return pages[0]


def forget_all(*sealed) -> None:
    """Let this host be a new one: no stage and no name of these nights is left."""
    for each in sealed:
        shutil.rmtree(stage_root() / each.flow_run_id)
        for ref in list_artifacts(each.image_name.rpartition(":")[0]):
            remove_image(ref.image_name)


@pytest.fixture(params=["registry", *full("local")])
def either(request):
    """The Local Registry, or a container registry."""
    if request.param == "registry":
        return request.getfixturevalue("place")
    return SimpleNamespace(stage="local", experiment=f"localhost/n{uuid.uuid4().hex[:8]}:one")


def test_each_night_names_the_last_finished_one_before_it_and_is_compared_with_it(either):
    place, night = either, nights_at(either)
    first, second = play(night, 1), play(night, 2)
    red = play(night, 3, fail=True)
    missed_one = play(night, 5)
    overlapping = play(night, 4)  # it was scheduled before, and ends later
    same_minute = play(night, 5)
    after = play(night, 6)
    finished = [first, second, missed_one, overlapping, same_minute, after]
    assert {x.composed_in or "local" for x in finished} == {place.stage}
    assert len({x.image_name for x in [*finished, red]}) == 7
    assert subject_of(place, first) is None
    assert subject_of(place, second) == descriptor_of(place, first)
    for each in (missed_one, overlapping):
        assert subject_of(place, each) == descriptor_of(place, second)
    assert subject_of(place, same_minute) == descriptor_of(place, overlapping)
    last = subject_of(place, after)["digest"]
    assert last in {missed_one.manifest_digest, same_minute.manifest_digest}
    assert (red.status, red.composed_in) == ("failed", "")
    before = {each.image_name: page_of(each).data for each in [*finished, red]}
    for each in (missed_one, overlapping, red):
        assert f"1 same, against `{second.image_name}`" in before[each.image_name]
    assert f"against `{overlapping.image_name}`" in before[same_minute.image_name]
    assert seal(second.flow_run_id).manifest_digest == second.manifest_digest


def test_a_night_that_is_retried_follows_what_its_first_attempt_follows(place):
    night = nights_at(place)
    first = play(night, 1)
    red = play(night, 3, fail=True)
    assert red.status == "failed"
    overlapping = play(night, 2)
    run_again(night, red.flow_run_id, fail=False)
    retried = seal(red.flow_run_id)
    assert (retried.status, retried.composed_in) == ("finished", place.stage)
    assert retried.counts == {"failed": 1, "finished": 3}
    assert retried.image_name == red.image_name
    assert subject_of(place, retried) == descriptor_of(place, first)
    assert f"1 same, against `{overlapping.image_name}`" in page_of(retried).data


def test_another_host_knows_the_nights_and_opens_one_without_those_before_it(place):
    night = nights_at(place)
    first, second = play(night, 1), play(night, 2)
    forget_all(first, second)
    third = play(night, 3, options=WORSE)
    assert subject_of(place, third) == descriptor_of(place, second)
    page = page_of(third)
    assert "1 worse than last night" in page.description
    assert f"against `{second.image_name}`" in page.data
    assert "Trend over the last nights" in page.data

    opened = load_experiment(third.flow_run_id)
    assert (opened.status, opened.image_name) == ("finished", third.image_name)
    known = {ref.image_name for ref in list_artifacts(third.image_name.rpartition(":")[0])}
    assert known == {third.image_name}  # nothing of the others came
    assert opened.run_parameters_df()["instance"][0] == "knapsack"
    earlier = earlier_experiments(third.flow_run_id)
    assert [x.image_name for x in earlier] == [first.image_name, second.image_name]
    assert [x.status for x in earlier] == ["finished"] * 2
    assert earlier_experiments(third.flow_run_id, 1)[0].image_name == second.image_name


def test_accumulated_nights_of_other_hosts_are_taken_over_without_their_payload(place):
    repository = place.experiment.rpartition(":")[0]
    night = series(experiment=repository, stage=place.stage)
    first, second = (play(night, day, number=day) for day in (1, 2))
    forget_all(first, second)
    third = play(night, 3, number=3)
    assert not third.warnings
    assert subject_of(place, third) == descriptor_of(place, second)
    assert list_artifacts(repository) == []
    assert nights_in(load_experiment(third.flow_run_id)) == of_each(first, second, third)
    red = play(night, 4, number=4, red=True)  # its checkpoint is here, with all payload
    assert (red.status, red.warnings) == ("failed", ())
    held = Experiment.restore_from_checkpoint(red.image_name)
    assert nights_in(held) == of_each(first, second, third, red)


def test_nights_of_two_deployments_in_one_repository_are_told_apart(server, place):
    night = nights_at(place)
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name(night.name)
        one, other = (
            client.create_deployment(flow_id=flow_id, name=f"{x}-{uuid.uuid4().hex[:8]}")
            for x in ("one", "other")
        )

    def played(day: int, deployment):
        from prefect.states import Scheduled

        with get_client(sync_client=True) as client:
            state = Scheduled(scheduled_time=BASE + timedelta(day))
            flow_run = client.create_flow_run_from_deployment(deployment, state=state)
        run_prefect_flow(night, flow_run, return_type="state")
        return seal(flow_run.id)

    first, second, third = played(1, one), played(2, other), played(3, one)
    assert subject_of(place, second) is None
    assert subject_of(place, third) == descriptor_of(place, first)
    with get_client(sync_client=True) as client:
        name = client.read_deployment(one).name
    page = page_of(third)
    assert page.key == f"ommx-{night.name}-{name}"
    assert f"against `{first.image_name}`" in page.data
    assert f"/deployments/deployment/{one})" in page.data
    (told,) = events_of(server, third.flow_run_id, events.SEALED, 1)
    assert roles(told)["deployment"] == f"prefect.deployment.{one}"


def test_a_night_that_was_deleted_or_is_something_else_is_not_followed(place):
    night = nights_at(place, aliases=["latest"])
    first, second = play(night, 1), play(night, 2)
    where = first.image_name.partition("/")[2].rpartition(":")[0]
    url = f"http://{place.server.host}/v2/{where}/manifests"
    httpx.delete(f"{url}/{second.manifest_digest}", trust_env=False).raise_for_status()
    empty = manifest_of(place, first)["config"]
    odd = {"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": []}
    headers = {"Content-Type": MANIFEST}
    httpx.put(
        f"{url}/20990101T000000-odd", content=json.dumps(odd), headers=headers, trust_env=False
    ).raise_for_status()
    third = play(night, 3)
    assert subject_of(place, third) == descriptor_of(place, first)
    assert not [x for x in third.warnings if x.startswith(FOLLOWS_NONE)]


def test_of_many_tags_those_of_the_last_nights_before_are_read():
    night = Series("id", "", "f", "r/n", "2026-11-30T02:00:00+00:00")
    dated = [f"2026113{x // 24}T{x % 24:02}0000-a" for x in range(48)]
    records = [f"{uuid.uuid4()}_shards_k{x}" for x in range(100)]
    parts = [f"part-{x:03}-abc-of-20261130T010000-a" for x in range(100)]
    named = [f"v{x:03}" for x in range(100)]
    found = tags_to_read([*dated, *records, *parts, *named], night)
    assert found[:3] == ["20261130T020000-a", "20261130T010000-a", "20261130T000000-a"]
    assert found[3:5] == ["v099", "v098"]
    assert len(found) == 3 + MOST_READ
