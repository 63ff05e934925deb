"""Three nights on a real server through a real worker, read back from the API and from both UIs.

The first is green, the second is red since a solver was given a worse option, and is retried; the
third is killed, and sealed by the recovery flow. Then one is missed.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import Artifact, FlowRun

from ommx_prefect._reporting import events
from ommx_prefect._stages.documents import SHARDS, STARTS
from ommx_prefect.blocks import OMMXRegistry
from tests.reporting.test_events import events_of
from tests.support.browser import browser_tab
from tests.support.deployed import PATIENCE_SECONDS, Deployed, deployed
from tests.support.prefect_server import own_server
from tests.support.rendered import PLACES, Gallery
from tests.support.started import until

INSTANCES = Path(__file__).parents[1] / "data/instances"
WORSE = {"presolve": "off", "simplex_iteration_limit": 0}
KEY = "ommx-nightly-solves"
# Night -> a picture on its page: of solvers that met one instance, or of the nights before.
PICTURE = {
    "green": "Performance profile",
    "red": "Trend over the last nights",
    "killed": "Trend over the last nights",
}
# All of it is played before the first test.
pytestmark = pytest.mark.timeout(2400)


@dataclass(frozen=True)
class Night:
    """What became of a night: its flow run, that of its solves, its page and its table."""

    run: FlowRun
    solves: FlowRun
    page: Artifact
    table: Artifact
    sealed: dict


@dataclass(frozen=True)
class Played:
    """All that happened."""

    nights: dict[str, Night]
    reports: list[FlowRun]
    recovery: FlowRun
    missing: FlowRun
    kept: set[str]
    registry: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of their own: each sealed night there starts a report."""
    with own_server(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="module")
def played(server, tmp_path_factory) -> Played:
    usual = {
        "sources": [str(INSTANCES / "afiro.mps")],
        "experiment": f"localhost/nights-{uuid.uuid4().hex[:8]}",
    }
    both = [*usual["sources"], str(INSTANCES / "gen-ip054.mps")]
    hard = {"sources": both, "time_limit_seconds": 300}
    with deployed(server, tmp_path_factory.mktemp("nights")) as place:
        runs = {"green": place.run("nightly/nightly", night=usual)}
        reports = [place.ended(first_of(place, "nightly-report/report").id)]
        place.client.pause_automation(place.automation("report on each sealed night").id)
        red = place.run("nightly/nightly", night={**usual, "options": {"highs": WORSE}})
        runs["red"], runs["retried"] = red, place.retry(red.id)
        killed = place.start("nightly/nightly", night={**usual, **hard})
        kill_amid(place, killed)
        runs["killed"] = place.ended(killed)
        recovery = place.run("nightly-recovery/recovery", min_age="0s")
        place.fires_within("no night for 26 hours", timedelta(seconds=10))
        missing = first_of(place, "nightly-missing/missing")
        place.client.delete_automation(place.automation("no night for 26 hours").id)
        nights = {name: read(server, place, name, run) for name, run in runs.items()}
        kept = pruned(place, usual["experiment"].partition("/")[2])
        missing = place.ended(missing.id)
        return Played(nights, reports, recovery, missing, kept, place.registry)


def pruned(place: Deployed, repository: str) -> set[str]:
    """Prune by a block that keeps one night, and return the finished nights that are left."""
    block = OMMXRegistry(registry="localhost", repository=repository, retention=1)
    block.save(repository)
    done = place.run("nightly-prune/prune", registry=f"ommx-registry/{repository}")
    assert done.state.is_completed(), done.state.message
    listed = json.loads(place.command("list", f"localhost/{repository}", "--json"))
    return {each["image"] for each in listed if each["kind"] == "sealed"}


def first_of(place: Deployed, name: str) -> FlowRun:
    return until(lambda: next(iter(place.runs_of(name)), None))


def kill_amid(place: Deployed, flow_run_id: uuid.UUID) -> None:
    """Kill a night once both solvers have solved the easy instance, and one is at the hard one."""
    solves = until(lambda: next(iter(place.subflows(flow_run_id)), None))
    stage = place.registry / "ommx-prefect" / str(solves.id)

    def is_amid() -> bool:
        began, ended = (
            {path.name for path in stage.glob(f"{kind}/*")} for kind in (STARTS, SHARDS)
        )
        return len(ended) >= 2 and bool(began - ended)

    until(lambda: is_amid() or None, PATIENCE_SECONDS)
    place.kill(flow_run_id)


def read(server: str, place: Deployed, name: str, run: FlowRun) -> Night:
    solves = place.subflows(run.id)[1 if name == "retried" else 0]
    found = place.artifacts(solves.id)
    (sealed,) = events_of(server, str(solves.id), events.SEALED, 1)
    return Night(run, solves, found[KEY], found[f"{KEY}-runs"], sealed["payload"])


def subject_of(played: Played, name: str) -> str | None:
    """Which night one follows, by its digest."""
    digest = played.nights[name].sealed["digest"].removeprefix("sha256:")
    manifest = json.loads((played.registry / "blobs/sha256" / digest).read_text())
    return manifest.get("subject", {}).get("digest")


def test_the_first_night_is_green(played):
    night = played.nights["green"]
    assert night.run.state.is_completed(), night.run.state.message
    assert night.page.description == "finished, 2 Runs"
    assert night.page.data.splitlines()[2].startswith("finished, 2 Runs ·")
    assert "![Performance profile](data:image/png;base64," in night.page.data
    assert len(json.loads(night.table.data)) == 2
    assert subject_of(played, "green") is None


def test_the_second_night_is_red_and_names_instance_solver_and_option(server, played):
    night, before = played.nights["red"], played.nights["green"]
    assert night.run.state.is_failed()
    for named in ("1 worse than the nights before", "afiro", "highs"):
        assert named in night.run.state.message
    assert "1 worse than last night" in night.page.description
    assert f"against `{before.sealed['image_name']}`" in night.page.data
    assert "- **worse**: afiro highs" in night.page.data
    assert "![Trend over the last nights](data:image/png;base64," in night.page.data
    (told,) = events_of(server, str(night.solves.id), events.REGRESSED, 1)
    assert told["payload"]["before"] == before.sealed["image_name"]
    assert subject_of(played, "red") == before.sealed["digest"]


def test_a_night_that_is_retried_is_compared_with_the_night_before_and_not_with_itself(played):
    night, first = played.nights["retried"], played.nights["red"]
    assert (night.run.id, night.run.run_count) == (first.run.id, 2)
    assert night.run.state.is_failed()
    assert "1 worse than the nights before" in night.run.state.message
    assert night.sealed["image_name"] != first.sealed["image_name"]
    assert subject_of(played, "retried") == subject_of(played, "red")
    assert "1 worse than last night" in night.page.description
    assert f"against `{played.nights['green'].sealed['image_name']}`" in night.page.data


def test_the_third_night_is_killed_and_sealed_by_the_recovery_flow(server, played):
    night = played.nights["killed"]
    assert night.run.state.is_crashed()
    assert played.recovery.state.is_completed(), played.recovery.state.message
    assert night.sealed["status"] == "interrupted"
    assert night.sealed["runs"]["finished"] >= 1
    assert night.sealed["runs"]["interrupted"] >= 1
    assert night.page.description.startswith("interrupted, ")
    assert "### Failed and interrupted Runs" in night.page.data
    cut_off = events_of(server, str(night.solves.id), events.RUN_INTERRUPTED, 1)
    assert {x["payload"]["task"] for x in cut_off} == {"solve"}


def test_a_sealed_night_starts_its_report(played):
    (report,) = played.reports
    assert report.state.is_completed(), report.state.message
    assert report.parameters["image"] == played.nights["green"].sealed["image_name"]


def test_a_missed_night_is_a_red_flow_run(played):
    assert played.missing.state.is_failed()
    assert "no night was sealed for 26 hours" in played.missing.state.message


def test_the_weekly_clean_up_keeps_what_the_block_says(played):
    assert played.kept == {played.nights["retried"].sealed["image_name"]}


def test_both_uis_render_verdict_table_and_picture(server, played, tmp_path):
    with browser_tab(tmp_path / "profile") as tab:
        gallery = Gallery(tab, server, tmp_path)
        for ui in PLACES:
            for name in ("green", "red", "killed"):
                night = played.nights[name]
                gallery.show(ui, night.page.id, night.sealed["digest"])
                assert night.page.description in gallery.text()
                assert PICTURE[name] in gallery.pictures()
                assert gallery.leads("flow run", ui, night.solves.name)
                if name != "green":
                    before = played.nights["green" if name == "red" else "retried"]
                    assert gallery.leads("its flow run", ui, before.solves.name)
                if name == "red":
                    assert gallery.leads("task run", ui, "afiro highs")
                gallery.show(ui, night.page.id, night.sealed["digest"])
                gallery.pictures()
                gallery.keep(f"night-{name}-{ui}", 1145 if name == "red" else 900)
            table = played.nights["red"].table
            gallery.show(ui, table.id, "afiro")
            assert {"afiro", "OMMXHighsAdapter"} <= {x.strip('"') for x in gallery.cells()}
            gallery.keep(f"runs-{ui}", 500)
