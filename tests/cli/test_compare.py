"""`compare OLD... NEW`: 0 where nothing became worse, 1 where something did, 2 for wrong use."""

from __future__ import annotations

import re

import pytest
from ommx.experiment import Experiment

from tests.support.nights import EVIL, log_run

HERE = {"cpu": "x", "cores": 2, "os": "linux", "solvers": {"highspy": "1.16.0"}}
COUNT = 12


def night(name, factor=1.0, outcome="optimal", cpu="x"):
    image = f"nights.local/compared:{name}"
    experiment = Experiment(image)
    experiment.log_json("environment", {**HERE, "cpu": cpu})
    for number in range(COUNT):
        log_run(
            experiment,
            instance=EVIL if number == 0 else f"i{number}",
            adapter="OMMXHighsAdapter",
            outcome=outcome if number == 0 else "optimal",
            sense="minimize",
            objective=float(number),
            solve_seconds=(20.0 + number) * factor,
            time_limit_seconds=99.0,
        )
    experiment.commit()
    return image


@pytest.fixture(scope="module")
def compared():
    return {
        "old": night("old"),
        "same": night("same", 1.001),
        "slow": night("slow", 1.5),
        "worse": night("worse", outcome="feasible"),
        "elsewhere": night("elsewhere", 1.5, cpu="y"),
    }


def test_the_exit_code_is_0_where_nothing_is_worse(compared, command):
    answer = command("compare", compared["old"], compared["same"])
    assert answer.code == 0
    assert f"{COUNT} same" in answer.out


def test_a_worse_outcome_is_1_and_is_told_with_any_name(compared, command):
    answer = command("compare", compared["old"], compared["worse"])
    assert answer.code == 1
    assert "optimal, now feasible" in answer.out
    assert "\\x1b[31m" in answer.out
    assert "\x1b" not in answer.out + answer.err
    assert "1 became worse" in answer.err


@pytest.mark.server
def test_slower_times_are_1_unless_the_threshold_is_higher(compared, command):
    answer = command("compare", compared["old"], compared["slow"], "--json")
    assert answer.code == 1
    (times,) = answer.json["times"]
    assert times["regression"] is True
    assert times["pairs"] == COUNT
    assert times["p"] < 0.05
    assert 1.2 < times["ratio"] < 1.5
    wide = command("compare", compared["old"], compared["slow"], "--time-threshold", "1.6")
    assert wide.code == 0
    strict = ["--significance", "0.000001"]
    assert command("compare", compared["old"], compared["slow"], *strict).code == 0


def test_times_of_other_machines_are_not_compared_unless_asked(compared, command):
    answer = command("compare", compared["old"], compared["elsewhere"])
    assert answer.code == 0
    assert "Times are not compared: cpu differs: 'x', 'y'" in answer.out
    anyway = ["--any-environment"]
    assert command("compare", compared["old"], compared["elsewhere"], *anyway).code == 1


def test_several_earlier_nights_count_by_their_median(compared, command):
    earlier = [compared[x] for x in ("old", "slow", "slow")]
    found = command("compare", *earlier, compared["slow"], "--json").json
    assert found["before"] == earlier
    assert found["times"][0]["ratio"] == pytest.approx(1.0)


def test_a_contradiction_with_what_is_known_is_1(compared, command, tmp_path):
    known = tmp_path / "known.solu"
    known.write_text("=opt= i3 2\n")
    both = (compared["old"], compared["same"])
    answer = command("compare", *both, "--known", str(known), "--json")
    assert answer.code == 1
    (row,) = answer.json["contradictions"]
    assert (row["instance"], row["kind"], row["against"]) == ("i3", "optimum", "optimal 2")


def test_two_solvers_that_contradict_each_other_across_the_nights_are_1(command):
    images = [f"nights.local/across:{tag}" for tag in ("one", "two")]
    claims = (("OMMXHighsAdapter", "optimal", 10.0), ("OMMXPySCIPOptAdapter", "feasible", 9.0))
    for image, (adapter, outcome, objective) in zip(images, claims, strict=True):
        night = Experiment(image)
        said = {"adapter": adapter, "outcome": outcome, "objective": objective}
        log_run(night, instance="p", sense="minimize", **said)
        night.commit()
    answer = command("compare", *images)
    assert answer.code == 1
    row = f"p +optimum +{images[0]} run 0 highs +optimal 10 +{images[1]} run 0 scip +feasible 9"
    assert re.search(row, answer.out)
    assert "0 became worse, 1 contradictions" in answer.err


def test_a_later_night_that_did_not_finish_is_1(nights, command):
    answer = command("compare", nights.first, nights.failed, "--any-environment")
    assert answer.code == 1
    assert f"{nights.failed} is failed" in answer.err
    assert command("compare", nights.first, nights.failed, "--json").json["status"] == "failed"


def test_one_image_alone_is_wrong_use(compared, command):
    assert command("compare", compared["old"]).code == 2
    assert command("compare", compared["old"], "nights.local/none:x").code == 2


def test_a_file_of_known_values_that_cannot_be_read_is_wrong_use(compared, command, tmp_path):
    broken = tmp_path / "broken.solu"
    broken.write_text("nonsense\n")
    both = (compared["old"], compared["same"])
    for path in (broken, tmp_path / "missing.solu"):
        answer = command("compare", *both, "--known", str(path))
        assert (answer.code, len(answer.err.splitlines())) == (2, 1)
        assert path.name in answer.err
