"""What Prefect's UI is given of nights: pages, tables, progress, and pages of solves, in bounds."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.sorting import ArtifactSort

from ommx_prefect import flow, load_experiment, task
from ommx_prefect._reporting import events, progress, publish, solve_pages
from ommx_prefect.solvers import solve
from tests.reporting.test_events import events_of
from tests.support.models import knapsack
from tests.support.reading import as_rendered, run_flow

WORSE = {"presolve": "off", "simplex_iteration_limit": 0, "mip_max_nodes": 0}


@task
def wait(seconds):
    time.sleep(seconds)


@task
def evil(text):
    raise ValueError(text)


def artifacts_of(flow_run_id: str) -> list:
    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[uuid.UUID(flow_run_id)]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(
            artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=200
        )


def test_two_nights_in_the_ui_the_second_worse(server, monkeypatch):
    monkeypatch.setattr(progress, "LEAST_SECONDS", 0.3)
    monkeypatch.setattr(solve_pages, "MOST_PAGES", 2)
    slug = f"pages-{uuid.uuid4().hex[:8]}"

    @flow(experiment=f"localhost/{slug}", name=slug)
    def night(options: dict):
        wait(1.0)
        for seed in range(1, 4):
            solve("highs", knapsack(), seed=seed, return_state=True)
        solve("highs", knapsack(), options=options, return_state=True)
        evil("<script>alert(1)</script> | `x`", return_state=True)

    first, second = run_flow(night, {}), run_flow(night, WORSE)
    before = load_experiment(first.flow_run_id).image_name
    found = artifacts_of(second.flow_run_id)
    keyed = {x.key: x for x in found if x.key}
    assert set(keyed) == {f"ommx-{slug}", f"ommx-{slug}-runs", f"ommx-{slug}-progress"}
    page = keyed[f"ommx-{slug}"]
    assert "2 failed, 1 worse than last night" in page.description
    assert page.data.splitlines()[2].startswith(f"{page.description} ·")
    assert f"against `{before}`" in page.data
    assert "\\<script\\>alert(1)\\</script\\>" in page.data
    assert not re.search(r"(?<!\\)<", page.data)
    assert "data:image/png;base64," in page.data
    assert "ommx-prefect compare" in page.data
    rows = json.loads(keyed[f"ommx-{slug}-runs"].data)
    assert rows[0]["status"] == "failed"
    assert list(rows[0])[:6] == ["run", "status", "instance", "adapter", "outcome", "objective"]
    shown = keyed[f"ommx-{slug}-progress"]
    assert (shown.type, float(shown.data)) == ("progress", 100.0)
    solves = [x for x in found if x.key is None]
    assert len(solves) == 2
    assert all(x.task_run_id and "| solver | OMMXHighsAdapter |" in x.data for x in solves)
    # The one that failed, although it came last, and one of the others with its answer.
    assert sorted(x.description for x in solves) == ["Run 1: optimal", "Run 4: no_solution"]
    well = as_rendered(next(x.data for x in solves if x.description == "Run 1: optimal"))
    assert "| objective | 5 |" in well
    assert "| bound | 5 |" in well
    assert "| gap | 0 |" in well
    assert re.search(r"^\| seconds \| [0-9.e-]+ \|$", well, re.MULTILINE)
    assert f"[The night](../../runs/flow-run/{second.flow_run_id})" in well
    (told,) = events_of(server, second.flow_run_id, events.REGRESSED, 1)
    assert told["payload"]["before"] == before
    assert "knapsack" in told["payload"]["regressions"][0]
    assert "highs" in told["payload"]["regressions"][0]


def test_a_page_that_cannot_be_made_loses_no_seal(server, monkeypatch, caplog):
    @flow(experiment=f"localhost/p{uuid.uuid4().hex[:8]}")
    def night():
        wait(0)

    def refuse(*_, **__):
        raise RuntimeError("a fault of ours")

    for name in ("find", "page_of", "runs_table", "show_solves"):
        monkeypatch.setattr(publish, name, refuse)
    sealed = run_flow(night)
    assert sealed.state.is_completed()
    assert sealed.statuses == ["finished"]
    assert caplog.text.count("the UI was not told: RuntimeError: a fault of ours") == 4


@pytest.mark.parametrize("count", [0, 1, 50, 5000])
def test_progress_counts_what_this_process_knows(count):
    from ommx_prefect._flowrun import pending

    root = str(uuid.uuid4())
    pending.expect_task_runs(root)
    for _ in range(count):
        pending.remember_task_run(root, str(uuid.uuid4()))
    assert pending.ended_of_known(root) == (count, count)
    pending.forget_task_runs(root)
