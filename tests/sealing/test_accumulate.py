"""A night that accumulates holds the nights before it, and is still told from them."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from ommx.artifact import gc, remove_image
from ommx.experiment import Experiment, list_experiments

from ommx_prefect import current_experiment, flow, load_experiment, seal, task
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect._reporting import events
from ommx_prefect._sealing import plan
from ommx_prefect._sealing.accumulate import FOLLOWS_NONE
from ommx_prefect._sealing.earlier import LEFT_OUT
from ommx_prefect.analysis import environments_of, solves
from ommx_prefect.solvers import solve
from tests.reporting.test_events import events_of
from tests.reporting.test_pages import artifacts_of
from tests.sealing.test_lineage import manifest_of, play, subject_of
from tests.support.models import knapsack
from tests.support.reading import run_again

FLOW_RUN = "prefect.flow_run_id"
# Of each night: `work`, the solve, and `fail_if`, in the order of their start.
OF_A_NIGHT = 3


@task
def work(day, x):
    return {"day": day, "x": x}


@task
def fail_if(red):
    if red:
        raise ValueError("red")


def series(name: str = "", lineage: str = "accumulate", **options):
    """A flow with a repository of its own."""
    name = name or f"all-nights-{uuid.uuid4().hex[:8]}"
    experiment = options.pop("experiment", f"localhost/{name}")

    @flow(experiment=experiment, lineage=lineage, name=name, **options)
    def night(number: int, x: int | str = 1, red: bool = False):
        current_experiment().log_json("plan", {"day": number})
        work(number, x)
        solve("highs", knapsack(), return_state=True)
        fail_if(red)

    return night


def nights_in(experiment: Experiment) -> list[str]:
    """The flow run of each Run, as plain `ommx` tells it."""
    return experiment.run_parameters_df()[FLOW_RUN].tolist()


def days_in(experiment: Experiment) -> list[int]:
    return [
        run.get_json("output")["day"]
        for run in experiment.runs
        if "output" in run.attachment_names and not run.solves
    ]


def of_each(*sealed) -> list[str]:
    return [each.flow_run_id for each in sealed for _ in range(OF_A_NIGHT)]


@pytest.fixture(scope="module")
def three(server):
    """Three nights of one series; in the second a parameter has another type."""
    night = series()
    return [play(night, day, number=day, x="two" if day == 2 else day) for day in (1, 2, 3)]


def test_ommx_alone_reads_all_nights_in_one_image(three):
    first, second, third = three
    experiment = Experiment.load(third.image_name)
    assert experiment.status == "finished"
    assert [run.run_id for run in experiment.runs] == list(range(3 * OF_A_NIGHT))
    assert nights_in(experiment) == of_each(*three)
    assert days_in(experiment) == [1, 2, 3]
    found = [(run.run_id, x.output.objective) for run in experiment.runs for x in run.solves]
    assert found == [(1, 5.0), (4, 5.0), (7, 5.0)]
    parameters = experiment.run_parameters_df()
    assert [parameters["x"][i] for i in (0, 6)] == [1, 3]
    assert parameters["x:string"][3] == "two"
    assert experiment.get_json("plan") == {"day": 3}
    for day, sealed in enumerate((first, second), 1):
        assert experiment.get_json(f"earlier/{sealed.flow_run_id}/plan") == {"day": day}
    assert not [name for name in experiment.attachment_names if name.endswith("/ledger")]
    assert [subject_of(x) for x in three] == [None, first.manifest_digest, second.manifest_digest]


def test_the_ledger_says_of_which_flow_run_each_run_is(three):
    first, second, third = three
    ledger = Experiment.load(third.image_name).get_json("ledger")
    assert [entry["run_id"] for entry in ledger["runs"]] == list(range(3 * OF_A_NIGHT))
    assert [entry["flow_run_id"] for entry in ledger["runs"]] == of_each(*three)
    assert ledger["flow_run"]["flow_run_id"] == third.flow_run_id
    assert [row["run_ids"] for row in ledger["task_runs"]] == [[6], [7], [8]]
    told = [(x["flow_run_id"], x["manifest_digest"], x["first_run"]) for x in ledger["nights"]]
    assert told == [
        (first.flow_run_id, first.manifest_digest, 0),
        (second.flow_run_id, second.manifest_digest, 3),
    ]
    assert [row["run_ids"] for row in ledger["nights"][1]["task_runs"]] == [[3], [4], [5]]
    assert ledger["nights"][0]["flow_run"]["parameters"]["number"] == 1
    assert "nights" not in Experiment.load(first.image_name).get_json("ledger")


def test_what_is_shown_and_compared_is_of_this_night(three, server):
    third = three[2]
    assert third.counts == {"finished": OF_A_NIGHT}
    (page,) = [x for x in artifacts_of(third.flow_run_id) if x.type == "markdown" and x.key]
    assert page.description == "finished, 3 Runs"
    assert "1 same, against" in page.data
    assert "- **Earlier nights**: 6 Runs, before its own" in page.data
    (table,) = [x for x in artifacts_of(third.flow_run_id) if x.type == "table"]
    rows = json.loads(table.data)
    assert sorted(row["run"] for row in rows) == [6, 7, 8]
    assert FLOW_RUN not in rows[0]
    (told,) = events_of(server, third.flow_run_id, events.SEALED, 1)
    assert told["payload"]["runs"] == {"finished": OF_A_NIGHT}

    experiment = Experiment.load(third.image_name)
    own, of_all = solves(experiment), solves(experiment, earlier=True)
    assert (own["run"].tolist(), own["flow_run"].tolist()) == ([7], [third.flow_run_id])
    assert of_all["flow_run"].tolist() == [x.flow_run_id for x in three]
    assert len(environments_of(experiment)) == 1


def test_seals_of_one_night_take_the_others_once_and_keep_what_it_follows(server):
    night = series()
    first = play(night, 1, number=1)
    red = play(night, 3, number=3, red=True)
    assert (red.status, red.counts) == ("failed", {"failed": 1, "finished": 2})
    overlapping = play(night, 2, number=2)  # it would be chosen now
    assert seal(red.flow_run_id) == red
    held = Experiment.restore_from_checkpoint(red.image_name)
    assert nights_in(held) == of_each(first, red)

    run_again(night, red.flow_run_id, number=3)
    retried = seal(red.flow_run_id)
    assert (retried.status, retried.counts) == ("finished", {"failed": 1, "finished": 5})
    experiment = Experiment.load(retried.image_name)
    assert nights_in(experiment) == of_each(first, red, red)
    assert subject_of(retried) == first.manifest_digest
    assert len(experiment.get_json("ledger")["nights"]) == 1
    assert seal(red.flow_run_id).manifest_digest == retried.manifest_digest

    last = play(night, 4, number=4)
    assert subject_of(last) == retried.manifest_digest
    assert nights_in(Experiment.load(last.image_name)) == of_each(first, red, red, last)
    assert overlapping.flow_run_id not in nights_in(Experiment.load(last.image_name))


def test_a_night_of_a_series_that_did_not_accumulate_is_taken_over(server):
    name = f"later-{uuid.uuid4().hex[:8]}"
    first = play(series(name, "previous"), 1, number=1)
    assert FLOW_RUN not in Experiment.load(first.image_name).run_parameters_df()
    second = play(series(name), 2, number=2)
    assert nights_in(Experiment.load(second.image_name)) == of_each(first, second)


def test_what_no_registry_would_take_is_left_in_the_night_before(server, monkeypatch):
    night = series()
    first = play(night, 1, number=1)
    most = len(json.dumps(manifest_of(first))) + 500
    monkeypatch.setattr(plan, "MOST_MANIFEST_BYTES", most)
    second = play(night, 2, number=2)
    (said,) = [x for x in second.warnings if x.startswith(LEFT_OUT)]
    assert first.manifest_digest in said
    assert f"OCI registries take {most:,}" in said
    assert subject_of(second) == first.manifest_digest
    experiment = Experiment.load(second.image_name)
    assert nights_in(experiment) == of_each(second)
    assert experiment.annotations["org.ommx-prefect.degraded"].startswith(LEFT_OUT)
    assert "nights" not in experiment.get_json("ledger")

    monkeypatch.undo()
    run_again(night, second.flow_run_id, number=2)
    again = seal(second.flow_run_id)
    assert again.manifest_digest != second.manifest_digest
    assert said in again.warnings
    assert nights_in(Experiment.load(again.image_name)) == of_each(second, second)
    third = play(night, 3, number=3)
    assert nights_in(Experiment.load(third.image_name)) == of_each(second, second, third)


@pytest.mark.parametrize("lineage", ["accumulate", "previous"])
def test_a_night_whose_payload_is_gone_is_not_followed(server, lineage):
    night = series(lineage=lineage)
    first = play(night, 1, number=uuid.uuid4().int % 10**9)
    small = [x for x in manifest_of(first)["layers"] if x["size"] < 100]
    layer = next(x for x in small if b'"day"' in read_blob(x["digest"]))
    lost = blob_path(layer["digest"])
    kept = lost.read_bytes()
    lost.unlink()
    second = play(night, 2, number=2)
    lost.write_bytes(kept)
    (said,) = [x for x in second.warnings if x.startswith(FOLLOWS_NONE)]
    assert layer["digest"] in said
    assert (second.status, subject_of(second)) == ("finished", None)
    experiment = Experiment.load(second.image_name)
    assert days_in(experiment) == [2]
    assert experiment.annotations["org.ommx-prefect.degraded"].startswith(FOLLOWS_NONE)


def test_earlier_nights_may_be_removed(server):
    night = series()
    *earlier, last = [play(night, day, number=day) for day in (1, 2, 3)]
    for each in earlier:
        remove_image(each.image_name)
    time.sleep(1.1)
    gc(delete=True, grace_period="1s")
    known = {each.image_name for each in list_experiments()}
    assert known.isdisjoint(each.image_name for each in earlier)
    experiment = Experiment.load(last.image_name)
    assert days_in(experiment) == [1, 2, 3]
    assert experiment.get_json(f"earlier/{earlier[0].flow_run_id}/plan") == {"day": 1}
    assert [x.output.objective for run in experiment.runs for x in run.solves] == [5.0] * 3


def test_nights_that_are_composed_in_their_registry_accumulate_there(server, place):
    night = series(experiment=place.experiment.rpartition(":")[0], stage=place.stage)
    three = [play(night, day, number=day) for day in (1, 2, 3)]
    assert [x.composed_in for x in three] == [place.stage] * 3
    assert [x.counts for x in three] == [{"finished": OF_A_NIGHT}] * 3
    experiment = load_experiment(three[2].flow_run_id)
    assert nights_in(experiment) == of_each(*three)
    assert days_in(experiment) == [1, 2, 3]
    assert not three[2].warnings
