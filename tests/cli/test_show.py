"""`list`, `show`, `--version`, and how errors are told: all from sealed artifacts, offline."""

from __future__ import annotations

import contextlib
import shutil
import time

import pytest
from ommx.artifact import ArtifactDraft
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import FLOW_RECORD
from ommx_prefect._stages.local import LocalStage
from tests.support.large_nights import staged_night
from tests.support.nights import EVIL, infeasible, knapsack, log_run


def rows_of(answer, prefix):
    return {row["image"]: row for row in answer.json if row["image"].startswith(prefix)}


def is_clean(text):
    """Every character only shows itself."""
    return all(x.isprintable() or x == "\n" for x in text)


def test_list_shows_what_is_there_with_counts_size_and_flags(nights, command):
    rows = rows_of(command("list", nights.repository, "--json"), nights.repository)
    assert set(rows) >= {nights.first, nights.second, nights.lying, nights.failed}
    first = rows[nights.first]
    assert (first["kind"], first["status"], first["runs"], first["solves"]) == (
        *("sealed", "finished", 6, 6),
    )
    assert (first["flow"], first["deployment"]) == ("nightly", "every-night")
    assert first["bytes"] > 1000
    assert first["flags"] == []
    assert rows[nights.lying]["flags"] == ["degraded", "contradiction"]
    failed = rows[nights.failed]
    assert (failed["kind"], failed["status"]) == ("checkpoint", "failed")


@pytest.mark.server  # it takes seconds
def test_a_flow_run_that_nobody_has_sealed_is_listed_with_its_records(command):
    flow_run_id = "0a0b0c0d-2222-4000-8000-000000000001"
    attempt = Attempt(
        flow_run_id, flow_run_id, 1, "", "late", "late", 1, "n", time.time(), "away", 1
    )
    stage = LocalStage(flow_run_id)
    stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    try:
        row = rows_of(command("list", "--json"), flow_run_id)[flow_run_id]
        assert (row["kind"], row["status"], row["runs"]) == ("unsealed", "unsealed", 1)
        assert row["bytes"] > 0
        assert flow_run_id in command("list").out
    finally:
        shutil.rmtree(stage.path)


def test_nights_of_one_second_are_listed_the_newest_first(command):
    names = [f"nights.local/quick:{tag}" for tag in ("b", "c", "a", "d")]
    for name in names:
        night = Experiment(name)
        night.set_annotation("tag", name)  # equal bytes would be one night of several names
        night.commit()
    found = [x["image"] for x in command("list", "nights.local/quick", "--json").json]
    assert found == names[::-1]
    # So that prune keeps the newest.
    pruned = command("prune", "nights.local/quick", "--keep", "1", "--json").json
    assert sorted(x["name"] for x in pruned) == sorted(names[:-1])


def test_list_is_a_table_for_people(nights, command):
    answer = command("list", nights.repository)
    assert answer.code == 0
    assert nights.first in answer.out
    assert "(checkpoint)" in answer.out
    assert "contradiction" in answer.out


def test_nothing_to_list_is_said(command):
    answer = command("list", "nobody.local/")
    assert (answer.code, answer.out[:22]) == (0, "There is no experiment")


def test_show_has_totals_and_runs_the_worst_first(nights, command):
    answer = command("show", nights.first, "--json")
    found = answer.json
    assert answer.code == 0
    assert found["status"] == "finished"
    assert found["flow"] == "nightly"
    assert {row["adapter"] for row in found["totals"]} == {"highs", "scip"}
    assert [row["solved"] for row in found["totals"]] == [3, 3]
    assert len(found["runs"]) == 6
    assert {row["instance"] for row in found["runs"]} == {"small", EVIL, "none"}
    assert found["contradictions"] == []
    assert found["opens_with"] == f'Experiment.load("{nights.first}")'


def test_runs_are_shown_the_worst_first(command):
    night = Experiment("nights.local/ordered:one")
    for outcome in ("optimal", "feasible", "error", "no_solution", "unreadable"):
        log_run(night, instance=outcome, outcome=outcome)
    for error in (KeyboardInterrupt, ValueError):
        with contextlib.suppress(error), night.run() as run:
            run.log_parameter("instance", error.__name__)
            raise error
    night.commit()
    rows = command("show", night.image_name, "--json").json["runs"]
    assert [row["instance"] for row in rows] == [
        *("ValueError", "KeyboardInterrupt"),
        *("error", "unreadable", "no_solution", "feasible", "optimal"),
    ]
    shown = command("show", night.image_name, "--runs", "3").out
    assert "unreadable" not in shown
    assert "and 4 more" in shown


def test_the_solves_of_plain_ommx_are_shown_as_they_are_recorded(command):
    """A Run that logged nothing says by its one Solve what was solved, and what came of it."""
    night = Experiment("nights.local/plain:one")
    with night.run() as run:
        run.log_solve(OMMXHighsAdapter, knapsack(5, "small"))
    with contextlib.suppress(RuntimeError), night.run() as run:
        run.log_solve(OMMXHighsAdapter, infeasible("none"))
    with night.run() as run:  # whose of the two it would be
        for capacity in (5, 6):
            run.log_solve(OMMXHighsAdapter, knapsack(capacity, "small"))
    night.commit()
    failed, solved, double = command("show", night.image_name, "--json").json["runs"]
    told = [failed[x] for x in ("instance", "adapter", "outcome", "objective")]
    assert told == ["none", "highs", "infeasible", None]
    told = [solved[x] for x in ("instance", "adapter", "outcome")]
    assert told == ["small", "highs", "optimal"]
    assert solved["objective"] == night.runs[0].solves[0].output.objective
    assert double["instance"] is double["adapter"] is None
    shown = command("show", night.image_name, "--run", "0").out
    assert "OMMXHighsAdapter, finished, small, optimal, 7\n" in shown
    of_both = command("show", night.image_name, "--run", "2", "--json").json["solves"]
    assert [(x["outcome"], x["objective"]) for x in of_both] == [
        ("optimal", solve.output.objective) for solve in night.runs[2].solves
    ]
    assert "parameter" not in shown


def test_show_prints_names_of_any_kind_as_they_are(nights, command):
    answer = command("show", nights.first)
    assert answer.code == 0
    assert is_clean(answer.out)
    assert "\\x1b[31m" in answer.out
    assert "<img" in answer.out
    assert "[red]" in answer.out


def test_contradictions_are_shown(nights, command):
    answer = command("show", nights.lying)
    assert "Contradictions" in answer.out
    assert "optimal 7" in answer.out


def test_a_failed_night_is_shown_by_the_name_it_was_to_have(nights, command):
    found = command("show", nights.failed, "--json").json
    assert (found["status"], found["reason"]) == ("failed", "ValueError: the night fell")
    assert found["opens_with"] == f'Experiment.restore_from_checkpoint("{nights.failed}")'


def test_a_name_without_a_tag_is_the_newest(nights, command):
    assert command("show", nights.repository, "--json").json["image"] == nights.second


def test_a_name_without_a_tag_is_the_last_night_even_if_it_failed_after_latest(command):
    good = Experiment("nights.local/turned:latest")
    log_run(good, x=1)
    good.commit()
    with contextlib.suppress(ValueError), Experiment("nights.local/turned:bad"):
        raise ValueError
    found = command("show", "nights.local/turned", "--json").json
    assert (found["image"], found["status"]) == ("nights.local/turned:bad", "failed")


def test_one_run_is_shown_with_all_it_holds(nights, command):
    found = command("show", nights.first, "--run", "1", "--json").json
    assert found["parameters"]["instance"] == "small"
    assert found["parameters"]["adapter"] == "OMMXPySCIPOptAdapter"
    (solve,) = found["solves"]
    assert solve["options"]["limits/time"] == 10.0
    log = Experiment.load(nights.first).runs[1].get_blob("solver.log").decode()
    assert found["log"] == log.splitlines()[-20:]
    sizes = {x["name"]: x["bytes"] for x in found["attachments"]}
    assert sizes.keys() >= {"solver.log", "trajectory"}
    assert 0 < sizes["solver.log"] < len(log)  # as it is stored: compressed
    depths = [len(line) - len(line.lstrip(" │├└─")) for line in found["trace"]]
    assert len(set(depths)) > 1  # a tree, not a list
    assert found["prefect"].startswith("http://prefect.test/runs/task-run/")
    assert found["opens_with"].endswith(".runs[1]")
    shown = command("show", nights.first, "--run", "1").out
    for part in ("Log, its end", "solver.log", "Trace", "limits/time=10.0", "Open it"):
        assert part in shown


def test_a_run_that_is_not_there_is_wrong_use(nights, command):
    answer = command("show", nights.first, "--run", "9")
    assert answer.code == 2
    assert "it has no Run 9" in answer.err


@pytest.fixture(scope="module")
def no_experiment():
    draft = ArtifactDraft.new("nights.local/other:one")
    draft.add_json({"a": 1})
    draft.commit()
    return "nights.local/other:one"


def test_what_is_no_experiment_is_one_line(no_experiment, command):
    answer = command("show", no_experiment)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "it is no experiment" in answer.err


# What is asked for -> what the one line says.
UNKNOWN = {
    "nights.local/bench:frist": "Did you mean nights.local/bench:first",
    "127.0.0.1:9/nights/bench:first": "127.0.0.1:9 cannot be reached (no network?)",
    f"127.0.0.1:9/nights/bench@sha256:{'0' * 64}": "127.0.0.1:9 cannot be reached",
    "Not A Name": "this is no image name",
    "00000000-0000-4000-8000-000000000000": "is of this flow run",
}


@pytest.mark.parametrize(("image", "said"), UNKNOWN.items())
def test_an_image_that_cannot_be_had_is_one_line_and_exit_2(nights, command, image, said):
    answer = command("show", image)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert said in answer.err
    assert answer.out == ""


@pytest.mark.server  # it takes seconds
def test_instances_of_one_name_and_other_content_contradict_nobody(command):
    night = Experiment("nights.local/namesakes:one")
    for capacity in (5, 9):
        with night.run() as run:  # without a digest, as plain OMMX leaves them
            run.log_solve(OMMXHighsAdapter, knapsack(capacity, "namesake"), verbose=False)
            run.log_parameter("instance", "namesake")
            run.log_parameter("sense", "maximize")
    night.commit()
    [row] = command("list", night.image_name, "--json").json
    assert row["flags"] == []
    assert command("show", night.image_name, "--json").json["contradictions"] == []


def test_a_night_that_cannot_be_looked_at_hides_no_other(command, nights, monkeypatch):
    load = Experiment.load

    def broken(name):
        if name == nights.second:
            raise TypeError("what nobody has foreseen")
        return load(name)

    monkeypatch.setattr("ommx_prefect.cli._list.Experiment.load", broken)
    rows = rows_of(command("list", nights.repository, "--json"), nights.repository)
    assert rows[nights.second]["flags"] == ["unreadable"]
    assert "contradiction" in rows[nights.lying]["flags"]


@pytest.mark.server  # it takes seconds
def test_a_flow_run_that_never_said_its_name_is_called_by_its_id(command, tmp_path):
    flow_run_id = staged_night("registry.test/nameless/night:one", runs=1)
    LocalStage(flow_run_id).remove(FLOW_RECORD)

    def listed():
        found = (x for x in command("list", "--json").json if x["flow_run_id"] == flow_run_id)
        return [(x["kind"], x["flow"], x["flow_run"]) for x in found]

    assert listed() == [("unsealed", "unknown", "")]  # its id stands as the name of the image
    waiting = {x["flow_run_id"]: x["flow"] for x in command("status", "--json").json}
    assert waiting[flow_run_id] == "unknown"
    assert command("seal", flow_run_id, "--interrupted").code == 0
    assert listed() == [("checkpoint", "unknown", flow_run_id)]
    shown = command("show", flow_run_id).out
    assert f"flow: unknown\nflow run: {flow_run_id}\n" in shown
    page = tmp_path / "night.html"
    assert command("report", flow_run_id, "-o", str(page)).code == 0
    assert f">{flow_run_id}</td>" in page.read_text()
