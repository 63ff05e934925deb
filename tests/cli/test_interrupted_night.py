"""A night in which a solve was interrupted, as every race has one, through every reader of it."""

from __future__ import annotations

import json
import threading

import pytest
from ommx.experiment import Experiment

from ommx_prefect.solvers._race import end_race, new_race, racing, win
from ommx_prefect.solvers._solve import solve_in
from tests.support.nights import knapsack
from tests.support.solving import slow_instance

NAME = "nights.local/race:one"


@pytest.fixture(scope="module")
def race_night() -> str:
    """HiGHS solves an instance, and SCIP is stopped on it; a second night without the loser."""
    race, instance = new_race(), slow_instance()
    for tag in ("one", "two"):
        night = Experiment(NAME.replace("one", tag))
        with night.run() as run:
            solve_in(run, "highs", instance, limits={"time_limit_seconds": 0.3})
        with night.run() as run:
            solve_in(run, "highs", knapsack(5, "small"), limits={})
        if tag == "one":
            timer = threading.Timer(1.0, lambda: win(race, "highs"))
            timer.start()
            lost = pytest.raises(KeyboardInterrupt, match="highs was first")
            with lost, night.run() as run, racing(race):
                solve_in(run, "scip", instance, limits={"time_limit_seconds": 60})
        night.commit()
    end_race(race)
    return NAME


@pytest.mark.server  # it takes seconds
def test_the_loser_of_a_race_stands_in_list_show_compare_report_and_export(
    race_night, command, tmp_path
):
    (listed,) = [x for x in command("list", race_night, "--json").json if x["image"] == race_night]
    assert listed["flags"] == []
    shown = command("show", race_night)
    assert shown.code == 0
    assert "highs was first" in shown.out
    second = NAME.replace("one", "two")
    compared = command("compare", second, race_night, "--json")
    assert compared.json["contradictions"] == []
    (loser,) = [x for x in compared.json["table"] if x["adapter"] == "scip"]
    assert (loser["verdict"], loser["why"]) == ("new", "new: interrupted")
    page = tmp_path / "night.html"
    assert command("report", race_night, "-o", str(page)).code == 0
    assert "highs was first" in page.read_text()
    folder = tmp_path / "exported"
    assert command("export", race_night, str(folder)).code == 0
    assert len(json.loads((folder / "export.json").read_text())["files"]) > 5
    assert "scip" in (folder / "solves.csv").read_text()
