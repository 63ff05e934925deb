"""A user's `objective="makespan"` must not hide the objectives of the solves of a night."""

from __future__ import annotations

import os
import time
import uuid

import pytest

from ommx_prefect import current_run, load_experiment
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._reporting.night import FlowRunFacts, Night
from ommx_prefect._sealing.runs_table import runs_table
from ommx_prefect._shards.shard import Attempt
from ommx_prefect.analysis import gap_over_time, solves
from tests.support.large_nights import sealed_night, staged_night

SOLVE = {"instance": "knap", "adapter": "OMMXHighsAdapter", "outcome": "optimal", "seed": 3}
SOLVE |= {"sense": "maximize", "objective": 7.5, "gap": 0.25, "solve_seconds": 1.5}
# What a user's own task was called with before: names that a solve logs, of another type.
USER = {"instance": 5, "objective": "makespan", "gap": "loose", "seed": "random"}


def run_of(flow_run_id, number, claims):
    attempt = Attempt(
        flow_run_id, "", 0, str(uuid.uuid4()), "t", f"t-{number}", 1, f"{number:012x}",
        time.time(), "here", os.getpid(),
    )  # fmt: skip
    with Recording(attempt, RecordingOptions(), claims) as recording, recording.active():
        if "adapter" in claims:
            lists = {"seconds": [1.0], "primal": [7.5], "dual": [10.0], "nodes": [1]}
            current_run().log_json("trajectory", lists)
        recording.returned(number)


@pytest.fixture(scope="module")
def sealed():
    flow_run_id = staged_night("nights.local/split:one", runs=0)
    run_of(flow_run_id, 0, USER)
    run_of(flow_run_id, 1, SOLVE)
    return sealed_night(flow_run_id)


def test_the_columns_are_split_and_the_table_of_solves_has_every_number(sealed):
    experiment = load_experiment(sealed.flow_run_id)
    assert {"objective", "objective:float64"} <= set(experiment.run_parameters_df())
    (row,) = solves(experiment).to_dict("records")
    assert (row["objective"], row["gap"], row["seed"]) == (7.5, 0.25, 3)
    assert row["instance"] == "knap"
    assert gap_over_time(experiment, "knap")["primal"].tolist() == [7.5]


def test_what_is_shown_and_found_has_the_names_that_were_logged(sealed, command):
    runs = command("show", sealed.image_name, "--json").json["runs"]
    assert {row["run"]: row["objective"] for row in runs} == {0: "makespan", 1: 7.5}
    one = command("show", sealed.image_name, "--run", "1", "--json").json
    assert one["parameters"]["gap"] == 0.25
    found = command("find", "objective>2", "--in", "nights.local/split", "--json").json
    assert [row["run"] for row in found] == [1]
    assert [x["run"] for x in command("find", "seed=3", "instance=knap", "--json").json] == [1]


def test_the_page_and_the_table_of_the_night_have_them_too(sealed):
    night = Night(FlowRunFacts(sealed.flow_run_id, "night", "", "flow"), sealed)
    assert dict(night.runs)[1].parameters["objective"] == 7.5
    rows = {row["run"]: row for row in runs_table(night.experiment)}
    assert "7.5" in {str(value) for value in rows[1].values()}
