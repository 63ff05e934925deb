"""The morning page: verdict first, everything bounded, and text of others shown as text."""

from __future__ import annotations

import re
import uuid

import pandas as pd
import pytest

from ommx_prefect._format.model import Call, ExperimentRecord, RunRecord
from ommx_prefect._reporting.findings import Findings
from ommx_prefect._reporting.keys import page_key, runs_key
from ommx_prefect._reporting.night import FlowRunFacts, Night
from ommx_prefect._reporting.page import MOST_BYTES, _within_bounds, link, page_of
from ommx_prefect._reporting.pictures import pictures
from ommx_prefect._reporting.solve_pages import _page
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect.analysis._solves import COLUMNS
from tests.support.reading import as_rendered

EVIL = "a|b `c` <script>alert(1)</script> [x](javascript:y) ![i](http://e/x.png)\n\n# head\x1b[31m"


def night_of(*runs: RunRecord, **fields) -> Night:
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.status] = counts.get(run.status, 0) + 1
    flow_run_id = str(uuid.uuid4())
    known = {"image_name": "ghcr.io/acme/night:one", "status": "finished", "counts": counts}
    sealed = SealedExperiment(
        flow_run_id=flow_run_id, manifest_digest="sha256:" + "a" * 64, **(known | fields)
    )
    night = Night(FlowRunFacts(flow_run_id, "run", str(uuid.uuid4()), "flow"), sealed)
    vars(night)["experiment"] = ExperimentRecord(sealed.status, runs)
    return night


def failed(reason: str, task: str = "solve", solves: tuple[Call, ...] = ()) -> RunRecord:
    parameters = {"prefect.task": task, "prefect.task_run_id": str(uuid.uuid4())}
    return RunRecord("failed", reason, parameters=parameters, solves=solves)


def test_the_verdict_comes_first_and_is_the_description():
    night = night_of(RunRecord("finished"), failed("no"), RunRecord("interrupted", "killed"))
    found = Findings(before="ghcr.io/acme/night:zero", worse=("i1 highs: optimal, now feasible",))
    page = page_of(night, found)
    wanted = "finished, 3 Runs, 1 failed, 1 interrupted, 1 worse than last night"
    assert page.description == wanted
    assert page.text.splitlines()[2].startswith(wanted)
    assert "ommx-prefect compare ghcr.io/acme/night:zero ghcr.io/acme/night:one" in page.text


@pytest.mark.parametrize(("count", "said"), [(1, "1 earlier flow run"), (7, "7 earlier flow runs")])
def test_earlier_flow_runs_that_are_not_sealed_have_one_line_with_the_command(count, said):
    page = page_of(night_of(RunRecord("finished")), Findings(), unsealed=count)
    assert page.description == f"finished, 1 Run, {said} not sealed"
    (line,) = [x for x in page.text.splitlines() if x.startswith(f"**{said} of this series")]
    assert "`ommx-prefect recover`" in line
    assert "not sealed" not in page_of(night_of(RunRecord("finished")), Findings()).text


def test_a_failed_solve_has_the_command_that_replays_it():
    night = night_of(RunRecord("finished"), failed("no", solves=({"solve_id": 0},)), failed("no"))
    text = page_of(night, Findings()).text
    assert text.count("ommx-prefect replay") == 1
    assert "`ommx-prefect replay ghcr.io/acme/night:one --run 1`" in text


def test_a_failure_says_which_attempt_of_its_task_it_was():
    text = page_of(night_of(failed("no", "read")), Findings()).text
    assert "**Run 0, read, attempt 1, failed**: no" in text


def test_the_page_of_a_solve_has_every_digit_of_what_is_compared_and_few_of_seconds():
    answer = {"outcome": "optimal", "objective": 20790.9190239, "solve_seconds": 0.0480780319922}
    run = RunRecord("finished", parameters=answer)
    text = as_rendered(_page(night_of(run), 0, run).data)
    assert "| objective | 20790.9190239 |" in text
    assert "| seconds | 0.04808 |" in text


def test_nothing_from_a_name_or_a_reason_becomes_markup():
    night = night_of(
        failed(EVIL, EVIL), status="failed", pushed=False, push_problem=EVIL, warnings=(EVIL,)
    )
    found = Findings(
        before="ghcr.io/acme/night:zero",
        before_url="javascript:alert(1)",
        worse=(EVIL,),
        better=(EVIL,),
        counts={EVIL: 1},
        not_comparable=(EVIL,),
        contradictions=(EVIL,),
    )
    text = page_of(night, found).text
    assert not re.search(r"(?<!\\)<", text)
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert "![i]" not in text
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("# ")]
    assert "<script>alert(1)</script>" in as_rendered(text)  # and yet it is shown
    cells = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in cells} == {3}


def test_a_page_stays_within_its_bounds_and_says_what_is_left_out():
    night = night_of(*(failed("x" * 5000) for _ in range(5000)), warnings=("y" * 900,) * 5000)
    worse = tuple(f"instance {i}: {'z' * 900}" for i in range(5000))
    huge = "![p](data:image/png;base64," + "A" * 400_000 + ")"
    page = page_of(night, Findings(before="b:1", worse=worse, contradictions=worse), [huge])
    assert len(page.text.encode()) <= MOST_BYTES
    assert "The pictures are too large" in page.text
    assert "4980 more in the table of Runs" in page.text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://x/)(", "http://x/ y", "data:a", ""])
def test_an_address_that_cannot_be_believed_is_no_link(url):
    assert link("flow run", url) == ""


def test_pictures_are_data_that_both_uis_show():
    rows = {
        "instance": ["i", "i", "j", "j"],
        "adapter": ["highs", "scip"] * 2,
        "objective": [1.0, 1.0, 2.0, 2.0],
        "outcome": ["optimal"] * 4,
        "seconds": [0.1, 0.2, 0.3, 0.4],
        "limit": [5.0] * 4,
    }
    rows["digest"] = rows["instance"]
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).astype(COLUMNS)
    found = list(pictures({"one": table, "two": table}))
    assert [x.partition("]")[0] for x in found] == [
        "![Performance profile",
        "![Trend over the last nights",
    ]
    assert all(x.partition("(")[2].startswith("data:image/png;base64,") for x in found)
    assert sum(map(len, found)) < MOST_BYTES // 2


def test_keys_tell_deployments_and_flows_apart():
    def keys(flow: str, deployment: str = "") -> tuple[str, str]:
        facts = FlowRunFacts("i", "r", "f", flow, "d", deployment)
        return page_key(facts), runs_key(facts)

    assert keys("Solver Benchmark") == ("ommx-solver-benchmark", "ommx-solver-benchmark-runs")
    assert keys("night", "prod")[0] == "ommx-night-prod"
    assert keys("nächtlich") != keys("nachtlich")
    assert keys("夜")[0] != keys("朝")[0]
    for name in ("夜", "x" * 500, "a_b.c|`d`", "-"):
        assert re.fullmatch(r"[a-z0-9-]+", keys(name)[1])
        assert len(keys(name)[1]) < 110


def test_the_commands_of_a_night_that_failed_name_its_flow_run():
    night = night_of(failed("no", solves=({"solve_id": 0},)), status="failed")
    text = page_of(night, Findings(before="ghcr.io/acme/night:zero")).text
    name = night.facts.flow_run_id
    assert f"`ommx-prefect replay {name} --run 0`" in text
    assert f"ommx-prefect compare ghcr.io/acme/night:zero {name}" in text
    away = night_of(
        failed("no"), status="failed", composed_in="oci://ghcr.io/acme/stage", pushed=True
    )
    text = page_of(away, Findings(before="ghcr.io/acme/night:zero")).text
    assert "compare ghcr.io/acme/night:zero ghcr.io/acme/night:one-failed" in text


def test_of_a_page_without_pictures_none_is_too_large():
    text = _within_bounds([["## head"], [], ["x" * 1000] * 300, []], [])
    assert len(text) < MOST_BYTES
    assert "pictures are too large" not in text
