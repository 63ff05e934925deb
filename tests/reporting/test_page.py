"""The morning page: verdict first, everything bounded, and text of others shown as text."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
import sys
import uuid

import matplotlib.image
import pandas as pd
import pytest

from ommx_prefect._format.model import (
    Attachments,
    Call,
    ExperimentRecord,
    RunRecord,
    describe,
)
from ommx_prefect._reporting import events
from ommx_prefect._reporting.findings import Findings, titles
from ommx_prefect._reporting.keys import page_key, runs_key
from ommx_prefect._reporting.markdown import link
from ommx_prefect._reporting.night import FlowRunFacts, Night
from ommx_prefect._reporting.page import FIRST_NIGHT, MOST_BYTES, _within_bounds, page_of
from ommx_prefect._reporting.pictures import CAPTIONS, NEEDS_PLOTS, PROFILE, TREND, pictures
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


@pytest.mark.parametrize(
    ("runs", "found", "said"),
    [
        ([RunRecord("finished")], Findings(), ""),
        ([RunRecord("finished")], Findings(before="n:0"), ": nothing worse than last night"),
        ([RunRecord("interrupted")], Findings(before="n:0"), ": 1 Run interrupted"),
        ([RunRecord("failed")] * 2, Findings(before="n:0"), ": 2 Runs failed"),
        ([RunRecord("failed")], Findings(before="n:0", worse=("a",)), ": 1 worse than last night"),
        ([], Findings(worse=("a",), contradictions=("b", "c")), ": 2 contradictions"),
    ],
)
def test_the_headline_names_the_worst(runs, found, said):
    text = page_of(night_of(*runs), found).text
    assert text.splitlines()[0] == f"## Experiment finished{said}"


def test_the_first_night_says_that_it_is_compared_with_none():
    night = night_of(RunRecord("finished"))
    table = pd.DataFrame(columns=list(COLUMNS))
    assert FIRST_NIGHT in page_of(night, Findings(nights={"one": table})).text
    assert FIRST_NIGHT not in page_of(night, Findings(before="n:0", nights={"one": table})).text
    assert FIRST_NIGHT not in page_of(night, Findings()).text


def test_nights_are_called_by_their_time_where_that_tells_them_apart():
    names = ["l/n:20261130T020000-owl", "l/n:20261201T020005-cat"]
    assert titles(names) == ["11-30", "12-01"]
    assert titles([*names, "l/n:v1"]) == ["11-30", "12-01", "v1"]
    assert titles([*names, "l/n:20261201T030005-dog"])[1:] == ["12-01 02:00", "12-01 03:00"]
    assert titles([*names, "l/n:20261201T020059-dog"])[1:] == ["12-01 02:00:05", "12-01 02:00:59"]
    same = [*names, "l/n:20261201T020005-dog"]
    assert titles(same) == [x.partition(":")[2] for x in same]


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


def test_a_solve_that_was_killed_is_named_and_has_the_command_that_replays_it():
    known = {"prefect.task": "solve", "adapter": "OMMXHighsAdapter", "instance": "afiro"}
    left = Attachments({"instance": describe("application/x", b"model")})
    killed = RunRecord("interrupted", "cut off", parameters=known, attachments=left)
    text = as_rendered(page_of(night_of(killed), Findings()).text)
    title = "Run 0, solve afiro OMMXHighsAdapter, attempt 1, interrupted"
    assert f"- **{title}**: cut off" in text
    assert "`ommx-prefect replay ghcr.io/acme/night:one --run 0`" in text


def test_what_is_degraded_has_its_line_and_the_command_that_shows_what_is_there():
    night = night_of(RunRecord("finished"), warnings=("degraded: a record is lost",))
    told = {"org.ommx-prefect.degraded": "degraded: a record is lost"}
    vars(night)["experiment"] = ExperimentRecord(
        "finished", night.experiment.runs, annotations=told
    )
    page = page_of(night, Findings())
    assert page.description == "finished, 1 Run, degraded"
    assert "- degraded\\: a record is lost" in page.text
    assert "`ommx-prefect show ghcr.io/acme/night:one`" in page.text


def test_a_failure_says_which_attempt_of_its_task_it_was():
    text = page_of(night_of(failed("no", "read")), Findings()).text
    assert "**Run 0, read, attempt 1, failed**: no" in text


def test_the_page_of_a_solve_has_every_digit_of_what_is_compared_and_few_of_seconds():
    answer = {"outcome": "optimal", "objective": 20790.9190239, "solve_seconds": 0.0480780319922}
    run = RunRecord("finished", parameters=answer)
    text = as_rendered(_page(night_of(run), 0, run).data)
    assert "| objective | 20790.9190239 |" in text
    assert "| seconds | 0.04808 |" in text


def test_the_page_of_a_solve_has_what_the_solver_says_and_a_link_to_the_night():
    answer = {
        "instance": "i|j",
        "outcome": "feasible",
        "objective": 5.0,
        "dual_bound": 4.0,
        "gap": 0.2,
        "solve_seconds": 1.5,
        "solver_warning": "small_matrix_value <1e-9>",
    }
    run = RunRecord("failed", "stopped", parameters=answer)
    night = night_of(run)
    page = _page(night, 0, run)
    lines = as_rendered(page.data).splitlines()
    assert page.key is None
    assert page.description == "Run 0: feasible"
    for line in ("| objective | 5 |", "| bound | 4 |", "| gap | 0.2 |", "| seconds | 1.5 |"):
        assert line in lines
    assert "| warning | small_matrix_value <1e-9> |" in lines
    assert "| reason | stopped |" in lines
    assert lines[-1] == f"[The night](../../runs/flow-run/{night.facts.flow_run_id})"


def test_nothing_from_a_name_or_a_reason_becomes_markup():
    night = night_of(
        failed(EVIL, EVIL), status="failed", pushed=False, push_problem=EVIL, warnings=(EVIL,)
    )
    found = Findings(
        before="ghcr.io/acme/night:zero",
        before_flow_run="javascript:alert(1)",
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
    assert not re.search(r"(?<!\\)\|", text)
    run = RunRecord("failed", EVIL, parameters={"instance": EVIL, "outcome": EVIL})
    cells = [x for x in _page(night, 0, run).data.splitlines() if x.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in cells} == {3}


def test_what_stands_beside_a_page_and_in_an_event_shows_itself_alone():
    run = RunRecord("finished", parameters={"prefect.task_run_id": str(uuid.uuid4()),
                                            "outcome": f"\u202e{EVIL}" * 9})  # fmt: skip
    description = _page(night_of(run), 0, run).description
    assert description.isprintable()
    assert len(description) <= 200
    told = events._bounded({"reason": EVIL, "warnings": [EVIL * 100, "plain"], "runs": 3})
    assert told["reason"].isprintable()
    assert told["warnings"][0].isprintable()
    assert len(told["warnings"][0]) == events.LONGEST
    assert (told["warnings"][1], told["runs"]) == ("plain", 3)


def test_a_page_stays_within_its_bounds_and_says_what_is_left_out():
    night = night_of(*(failed("x" * 5000) for _ in range(5000)), warnings=("y" * 900,) * 5000)
    worse = tuple(f"instance {i}: {'z' * 900}" for i in range(5000))
    huge = "![p](data:image/png;base64," + "A" * 400_000 + ")"
    page = page_of(night, Findings(before="b:1", worse=worse, contradictions=worse), [huge])
    assert len(page.text.encode()) <= MOST_BYTES
    assert "The pictures are too large" in page.text
    assert "4980 more in the table of Runs" in page.text


@pytest.mark.parametrize("odd", ["javascript:alert(1)", "a/../b", "a)(b", "a b", "\n", ""])
def test_an_id_that_cannot_be_one_is_no_link(odd):
    assert link("flow run", "flow-run", odd) == ""


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
    for title, text in zip((PROFILE, TREND), found, strict=True):
        caption, _, picture = text.partition("\n\n")
        assert caption == f"**{title}**: {CAPTIONS[title]}"
        data = re.fullmatch(rf"!\[{title}\]\(data:image/png;base64,(.+)\)\n", picture)[1]
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)), format="png")
        # Its ground is white paper: its dark lines can be read on a page of either kind.
        assert pixels[[0, 0, -1, -1], [0, -1, 0, -1]].min() == 1.0
    assert sum(map(len, found)) < MOST_BYTES // 2
    assert NEEDS_PLOTS not in found


def test_without_matplotlib_one_line_says_what_pictures_need(monkeypatch):
    rows = {"instance": ["i", "i"], "adapter": ["a", "b"], "objective": [1.0, 1.0]}
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS)).astype(COLUMNS)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert list(pictures({"one": table, "two": table})) == [NEEDS_PLOTS]
    text = page_of(night_of(RunRecord("finished")), Findings(), [NEEDS_PLOTS]).text
    assert text.count("matplotlib") == 1


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
