"""`replay`: every recorded solve is solved again, agrees, and is sealed beside the original."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading

import pytest
from ommx.artifact import list_artifacts
from ommx.experiment import Experiment, list_experiments
from ommx_openjij_adapter import OMMXOpenJijSAAdapter

from ommx_prefect._catalogue.opened import Opened, open_image
from ommx_prefect.cli._replay import _name
from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.solvers._race import end_race, new_race, racing, win
from ommx_prefect.solvers._solve import sample_in, solve_in
from tests.support.nights import knapsack, log_run, without_rows
from tests.support.solving import slow_instance


def names():
    return {ref.image_name for ref in list_experiments()}


def test_every_recorded_solve_replays_and_nothing_is_kept(nights, command):
    before = names()
    answer = command("replay", nights.first, "--json")
    assert answer.code == 0, answer.err
    rows = answer.json["solves"]
    assert len(rows) == 6
    assert all(row["agrees"] for row in rows)
    assert {row["outcome_after"] for row in rows} == {"optimal", "infeasible"}
    assert [row["run"] for row in rows] == list(range(6))
    assert names() == before


@pytest.mark.server  # a process of its own takes long
def test_json_of_a_replay_is_json_though_highs_prints_a_banner(nights):
    told = [sys.executable, "-m", "ommx_prefect", "replay", nights.first, "--json"]
    done = subprocess.run(told, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["solves"]) == 6


def test_a_replay_is_recorded_with_the_original_as_its_subject(nights, command):
    answer = command("replay", nights.first, "--run", "0", "--record", "--json")
    name = answer.json["replay"]
    assert name.startswith(f"{nights.repository}-replays:first-")
    (ref,) = [x for x in list_artifacts() if x.image_name == name]
    assert ref.manifest["subject"]["digest"] == open_image(nights.first).digest
    experiment = Experiment.load(name)
    (run,) = experiment.runs
    (recorded,) = run.solves
    assert recorded.output.objective == 7.0
    original = Experiment.load(nights.first).runs[0].solves[0]
    assert recorded.adapter_options == original.adapter_options
    assert experiment.run_parameters_df().loc[0, "replay_of_run"] == 0
    shown = command("show", name, "--json").json  # a manifest with a subject is read, too
    assert shown["runs"][0]["objective"] == 7.0
    assert command("list", name, "--json").json[0]["runs"] == 1


def test_what_tells_two_solves_of_one_instance_apart_stands_in_their_rows(command):
    name = "nights.local/replayed:variants"
    experiment = Experiment(name)
    told = (({}, None), ({"time_limit_seconds": 9}, None), ({"seed": 2}, {"presolve": "off"}))
    for limits, options in told:
        with experiment.run() as run:
            solve_in(run, "highs", knapsack(5, "p"), limits={"seed": 1, **limits}, options=options)
    experiment.commit()
    head, *rows, _ = command("replay", name).out.splitlines()
    assert head.split()[:6] == ["run", "instance", "adapter", "variant", "seed", "limit"]
    assert [row.split()[2:6] for row in rows] == [
        ["highs", "1", "optimal", "optimal"],
        ["highs", "1", "9", "optimal"],
        ["highs", "presolve=off", "2", "optimal"],
    ]
    variants = [x["variant"] for x in command("replay", name, "--json").json["solves"]]
    assert variants == ["", "", "presolve=off"]
    assert "variant" not in command("replay", name, "--run", "2").out


def test_another_solver_gets_the_limits_and_agrees(nights, command):
    answer = command("replay", nights.first, "--run", "0", "--adapter", "scip", "--json")
    (row,) = answer.json["solves"]
    assert answer.code == 0
    assert row["adapter"] == "scip"
    assert row["agrees"]


def test_one_more_option_is_given_to_the_solver(nights, command):
    told = ["--option", "presolve=off", "--record", "--json"]
    answer = command("replay", nights.first, "--run", "0", *told)
    assert answer.code == 0
    options = Experiment.load(answer.json["replay"]).runs[0].solves[0].adapter_options
    assert options["presolve"] == "off"
    assert options["random_seed"] == 1
    assert command("replay", nights.first, "--run", "0", "--option", "presolve").code == 2


@pytest.fixture(scope="module")
def odd():
    """A night with a wrong claim, a killed solve, a failed one, and an adapter nobody knows."""
    name = "nights.local/replayed:odd"
    experiment = Experiment(name)
    with experiment.run() as run:  # claims what is not so
        solve_in(run, "highs", knapsack(5, "wrong"), limits={})
        run.log_parameter("objective", 99.0)
    with contextlib.suppress(KeyboardInterrupt), experiment.run() as run:  # killed in the middle
        run.log_instance("instance", knapsack(7, "killed"))
        for key, value in {"instance": "killed", "adapter": "OMMXHighsAdapter"}.items():
            run.log_parameter(key, value)
        run.log_parameter("option.presolve", "off")
        run.log_parameter("time_limit_seconds", 5.0)
        raise KeyboardInterrupt
    log_run(experiment, x=1)
    experiment.set_annotation("org.ommx-prefect.ommx-version", "3.0.0a1")
    experiment.commit()
    return name


def test_an_answer_that_differs_is_1_and_is_explained(odd, command):
    answer = command("replay", odd, "--run", "0")
    assert answer.code == 1
    assert "ommx was 3.0.0a1, and is" in answer.out
    assert "1 of 1 answers differ" in answer.err


def test_a_killed_solve_is_done_again_from_what_it_left(odd, command):
    answer = command("replay", odd, "--all-failed", "--record", "--json")
    (row,) = answer.json["solves"]
    assert (row["run"], row["outcome_before"], row["outcome_after"]) == (1, None, "optimal")
    assert "the recorded solve never ended" in row["why"]
    options = Experiment.load(answer.json["replay"]).runs[0].solves[0].adapter_options
    assert options == {"presolve": "off", "time_limit": 5.0}


@pytest.fixture(scope="module")
def begun_and_sampled():
    """A solve from a start, one Run of a sampling, and one Run of two samplings by plain OMMX."""
    name = "nights.local/replayed:sampled"
    experiment, read = Experiment(name), {"num_reads": 8, "seed": 3}
    with experiment.run() as run:
        solve_in(run, "highs", knapsack(5, "begun"), limits={}, start={0: 1.0, 1: 0.0, 2: 0.0})
    with experiment.run() as run:
        sample_in(run, "openjij", without_rows("sampled"), options=read)
    with experiment.run() as run:
        for title in ("one", "two"):
            run.log_sample(OMMXOpenJijSAAdapter, without_rows(title), **read)
    experiment.commit()
    return name


def test_samplings_and_starts_are_replayed(begun_and_sampled, command):
    answer = command("replay", begun_and_sampled, "--record", "--json")
    assert answer.code == 0, answer.err
    told = [(x["run"], x["instance"], x["adapter"]) for x in answer.json["solves"]]
    assert told == [
        (0, "begun", "highs"),
        (1, "sampled", "openjij"),
        (2, "one", "openjij"),
        (2, "two", "openjij"),
    ]
    assert {x["outcome_after"] for x in answer.json["solves"]} == {"optimal", "feasible"}
    experiment = Experiment.load(answer.json["replay"])
    before, after = Experiment.load(begun_and_sampled).runs[0], experiment.runs[0]
    assert before.get_solution("start").objective == after.get_solution("start").objective == 3.0
    assert [run.samplings[0].adapter_options["num_reads"] for run in experiment.runs[1:]] == [8] * 3


@pytest.fixture(scope="module")
def mixed():
    """A solve that was stopped, one whose option was refused, a sampling, and one that ended."""
    name = "nights.local/replayed:mixed"
    experiment, begun = Experiment(name), new_race()
    threading.Timer(1.0, win, (begun, "other")).start()
    with contextlib.suppress(KeyboardInterrupt), racing(begun), experiment.run() as run:
        solve_in(run, "highs", slow_instance(), limits={"threads": 1})
    end_race(begun)
    with contextlib.suppress(SolverOptionError), experiment.run() as run:
        solve_in(run, "highs", knapsack(5, "wrong"), limits={}, options={"presolv": "off"})
    with experiment.run() as run:
        sample_in(run, "openjij", without_rows("sampled"), options={"num_reads": 2, "seed": 3})
    with experiment.run() as run:
        solve_in(run, "highs", knapsack(5, "small"), limits={})
    experiment.commit()
    return name


@pytest.mark.server
def test_a_solve_that_was_stopped_has_as_long_as_it_had(mixed, command):
    answer = command("replay", mixed, "--all-failed", "--record", "--json")
    stopped, refused = answer.json["solves"]
    assert (stopped["run"], stopped["outcome_after"]) == (0, "feasible")
    assert f"it was stopped after {stopped['seconds_before']:.4g} s" in stopped["why"][0]
    options = Experiment.load(answer.json["replay"]).runs[0].solves[0].adapter_options
    assert options["time_limit"] == max(1.0, stopped["seconds_before"])
    # What was refused is refused, and keeps nobody from the rest.
    assert (refused["outcome_before"], refused["outcome_after"]) == ("error", "error")
    assert refused["agrees"]


@pytest.mark.server
def test_a_limit_is_given_to_those_that_have_one(mixed, command):
    answer = command("replay", mixed, "--option", "time_limit_seconds=2", "--record", "--json")
    assert [row["outcome_after"] for row in answer.json["solves"]] == [
        *("feasible", "error", "feasible", "optimal"),
    ]
    first, *_, last = Experiment.load(answer.json["replay"]).runs
    assert [run.solves[0].adapter_options["time_limit"] for run in (first, last)] == [2, 2]
    wrong = command("replay", mixed, "--run", "3", "--option", "presolv=off")
    assert (wrong.code, len(wrong.err.splitlines())) == (2, 1)


def test_where_all_have_an_answer_there_is_nothing_to_do(nights, command):
    answer = command("replay", nights.first, "--all-failed")
    assert (answer.code, "Every solve has an answer." in answer.out) == (0, True)


def test_what_is_not_there_is_wrong_use(nights, odd, command):
    assert command("replay", odd, "--run", "2").code == 2
    assert command("replay", nights.first, "--run", "0", "--solve", "7").code == 2
    assert command("replay", nights.first, "--adapter", "hihgs").code == 2
    assert command("replay", nights.first, "--adapter", "no.module:Thing").code == 2


def test_a_recorded_time_limit_gives_way_to_an_option_of_either_name(nights, command):
    for told in ("time_limit_seconds=7", "time_limit=7"):
        answer = command(
            "replay", nights.first, "--run", "0", "--option", told, "--record", "--json"
        )
        assert answer.code == 0, answer.err
        options = Experiment.load(answer.json["replay"]).runs[0].solves[0].adapter_options
        assert (options["time_limit"], options["random_seed"]) == (7, 1)


def test_nothing_to_record_leaves_nothing(nights, command):
    before = {ref.image_name for ref in list_artifacts(include_internal=True)}
    assert command("replay", nights.first, "--all-failed", "--record").code == 0
    assert {ref.image_name for ref in list_artifacts(include_internal=True)} == before


def test_an_experiment_is_opened_and_replayed_by_its_digest(nights, command):
    for name in (nights.first, nights.failed):
        opened = open_image(name)
        for text in (opened.digest, f"ghcr.io/some/where@{opened.digest}"):
            assert open_image(text).name == name
            assert open_image(text).opens_with == opened.opens_with
    pinned = f"{nights.repository}@{open_image(nights.first).digest}"
    answer = command("replay", pinned, "--run", "0", "--record", "--json")
    assert answer.json["replay"].startswith(f"{nights.repository}-replays:first-")
    unknown = command("show", "sha256:" + "0" * 64)
    assert unknown.code == 2
    assert "has this digest" in unknown.err


def test_the_replay_of_what_has_no_name_but_a_digest_has_a_tag():
    digest = "sha256:" + "a" * 64
    opened = Opened("ghcr.io/a/b@" + digest, "x", digest, Experiment.with_temp_local_registry())
    assert _name(opened).startswith("ghcr.io/a/b-replays:aaaaaaaaaaaa-")


def test_attachments_of_a_users_own_are_no_start_and_no_instance(command):
    night = Experiment("nights.local/replayed:own")
    with night.run() as run:
        solve_in(run, "highs", knapsack(5, "small"), limits={})
        run.log_json("start", {"at": "depot"})
    with night.run() as run:
        run.log_json("instance", {"rows": 3})
        for key, value in {"instance": "small", "adapter": "OMMXHighsAdapter"}.items():
            run.log_parameter(key, value)
        run.log_parameter("sense", "maximize")
    night.commit()
    answer = command("replay", night.image_name, "--json")
    assert [x["run"] for x in answer.json["solves"]] == [0]
    assert command("show", night.image_name).code == 0
