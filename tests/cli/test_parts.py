"""What the command line makes of an experiment that was sealed in parts."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest
from ommx.artifact import list_artifacts
from ommx.experiment import Experiment, list_experiments

from ommx_prefect import load_experiment
from ommx_prefect._registry.names import find
from ommx_prefect._registry.parts import WHOLES
from ommx_prefect._sealing import parts as sealing_parts
from tests.support.large_nights import FEW_BYTES, RUNS, sealed_night, staged_night

pytestmark = pytest.mark.server  # a night that is large takes seconds
REPOSITORY = f"nights.local/in-parts-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def name():
    """An experiment in parts, and a later one in the same repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing_parts, "MOST_MANIFEST_BYTES", FEW_BYTES)
        sealed_night(staged_night(f"{REPOSITORY}:one"))
    return f"{REPOSITORY}:one"


def test_it_is_listed_as_one(name, command):
    rows = command("list", REPOSITORY, "--json").json
    assert [(row["image"], row["runs"], row["kind"]) for row in rows] == [(name, RUNS, "sealed")]
    parts = command("list", REPOSITORY, "--parts", "--json").json
    assert {row["kind"] for row in parts} == {"sealed", "part"}
    assert sum(row["runs"] for row in parts if row["kind"] == "part") == RUNS
    assert rows[0]["bytes"] > sum(row["bytes"] for row in parts if row["kind"] == "part") // 2


def test_it_is_shown_and_searched_as_one(name, command):
    shown = command("show", name, "--json").json
    assert [row["run"] for row in shown["runs"]] == list(range(RUNS))
    assert shown["opens_with"] == f'ommx_prefect.load_experiment("{name}")'
    assert [x["name"] for x in shown["attachments"]] == ["ledger", "note"]
    assert shown["totals"][0]["runs"] == RUNS
    assert "sealed in" in command("show", name).out
    last = command("show", name, "--run", str(RUNS - 1), "--json").json
    assert last["parameters"]["number"] == RUNS - 1
    assert last["attachments"][0]["name"] == "output"
    found = command("find", "number>=28", "--in", REPOSITORY, "--json").json
    assert [(row["image"], row["run"]) for row in found] == [(name, 28), (name, 29)]


def test_it_is_exported_and_reported_as_one(name, command, tmp_path):
    document = command("export", name, str(tmp_path / "files"), "--json").json
    outputs = [x for x in document["files"] if x.get("attachment") == "output"]
    assert [x["run"] for x in outputs] == list(range(RUNS))
    last = tmp_path / "files" / outputs[-1]["path"]
    assert json.loads(last.read_bytes()) == {"value": RUNS - 1}
    command("report", name, "-o", str(tmp_path / "night.html"))
    page = (tmp_path / "night.html").read_text()
    assert name in page
    assert f"i{RUNS - 1:03}" in page


def test_du_counts_its_parts_with_it(name, command):
    (row,) = command("du", REPOSITORY, "--json").json["experiments"]
    assert row["bytes"] > 30 * len('{"value":1}')
    assert row["own_bytes"] > row["bytes"] // 2


def test_its_parts_are_pruned_with_it_and_come_back_with_it(name, command):
    later = Experiment(f"{REPOSITORY}:two")
    later.log_json("x", 1)
    later.commit()
    load_experiment(name)
    digest = find(name)
    (gone,) = command("prune", REPOSITORY, "--keep", "1", "--delete", "--json").json
    assert gone["name"] == name
    assert [ref.image_name for ref in list_experiments(f"{REPOSITORY}:")] == [f"{REPOSITORY}:two"]
    made = [ref.image_name for ref in list_artifacts(WHOLES, include_internal=True)]
    assert not [x for x in made if digest and x.endswith(digest[7:])]
    subprocess.run(gone["restore"], shell=True, check=True, timeout=240)
    assert len(load_experiment(name).runs) == RUNS


def test_parts_that_nothing_names_are_pruned_once_they_are_old(name, command):
    from ommx.artifact import remove_image

    gone = command("prune", REPOSITORY, "--older-than", "0s", "--json").json
    assert {row["kind"] for row in gone} <= {"documents"}
    digest = find(name)
    assert digest is not None
    remove_image(name)
    gone = command("prune", REPOSITORY, "--older-than", "0s", "--json").json
    assert {row["kind"] for row in gone} - {"documents"} == {"part"}
