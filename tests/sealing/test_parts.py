"""An experiment beyond the manifest limit is sealed in parts, and reads as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from ommx.artifact import list_artifacts, remove_image
from ommx.experiment import Experiment

from ommx_prefect import exceptions, load_experiment, pull_experiment
from ommx_prefect._format.decode import decode
from ommx_prefect._format.parts import NAME, PARTS, join, places_of
from ommx_prefect._registry.blobs import blob_path, read_blob, read_documents
from ommx_prefect._registry.names import find
from ommx_prefect._registry.parts import places_in
from ommx_prefect._sealing import parts as sealing_parts
from ommx_prefect._sealing.push import push_image
from ommx_prefect.analysis import solves, totals
from tests.support.images import tags_of
from tests.support.large_nights import FEW_BYTES, RUNS, record_run, sealed_night, staged_night

pytestmark = pytest.mark.usefixtures("_low_limit", "no_credentials")

CHECKOUT = Path(__file__).parents[2]
TAKEN_SECONDS = 240
# What a second machine does, whose Local Registry is empty.
ELSEWHERE = """
import json, sys
from ommx.experiment import Experiment, list_experiments
from ommx_prefect import load_experiment, pull_experiment

name = sys.argv[1]
pulled = pull_experiment(name)
print(json.dumps([
    [run.run_id for run in pulled.runs],
    [run.get_json("output") for run in pulled.runs],
    pulled.get_json("note"),
    len(Experiment.load(name).runs),
    [run.run_id for run in load_experiment(name).runs],
]))
"""
PULL = """
import json, sys
from typer.testing import CliRunner
from ommx_prefect.cli import app

for command in (["pull", sys.argv[1]], ["list", "--parts"], ["show", sys.argv[1]]):
    print(json.dumps(json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)))
"""


@pytest.fixture
def _low_limit(monkeypatch):
    monkeypatch.setattr(sealing_parts, "MOST_MANIFEST_BYTES", FEW_BYTES)


@pytest.fixture
def name():
    return f"nights.local/large-{uuid.uuid4().hex[:8]}:one"


def values_of(experiment):
    return [run.get_json("output")["value"] for run in experiment.runs]


def parts_of(name):
    """The parts as plain ommx reads them, by the tags that the index tells."""
    repository = name.rpartition(":")[0]
    document = json.loads(Experiment.load(name).get_blob(NAME))
    return document, [Experiment.load(f"{repository}:{x['tag']}") for x in document["parts"]]


def part_names(name):
    repository = name.rpartition(":")[0]
    return {ref.image_name for ref in list_artifacts(f"{repository}:part-", include_internal=True)}


def test_plain_ommx_reads_it_part_by_part(name):
    sealed = sealed_night(staged_night(name))
    assert sealed.parts >= 3
    assert sealed.counts == {"finished": RUNS}
    index = Experiment.load(name)
    assert (index.status, index.runs) == ("finished", [])
    assert index.get_json("note") == "of the flow"
    assert index.annotations[PARTS] == str(sealed.parts)
    assert [x["run_id"] for x in index.get_json("ledger")["runs"]] == list(range(RUNS))

    document, parts = parts_of(name)
    assert (document["format"], document["runs"]) == (1, RUNS)
    assert document["counts"] == {"finished": RUNS}
    assert len(parts) == sealed.parts
    for place, part in zip(document["parts"], parts, strict=True):
        ids = list(range(place["first_run_id"], place["last_run_id"] + 1))
        assert [run.run_id for run in part.runs] == ids
        assert values_of(part) == ids
        assert part.run_parameters_df()["number"].tolist() == ids
        assert len(read_blob(place["digest"])) == place["size"] <= FEW_BYTES
    assert document["parts"][0]["first_run_id"] == 0
    assert sum(x["runs"] for x in document["parts"]) == RUNS


def test_load_experiment_reads_it_as_one(name):
    flow_run_id = staged_night(name)
    sealed = sealed_night(flow_run_id)
    for each in (load_experiment(flow_run_id), load_experiment(name)):
        assert isinstance(each, Experiment)
        assert [run.run_id for run in each.runs] == list(range(RUNS))
        assert values_of(each) == list(range(RUNS))
        assert each.run_parameters_df()["number"].tolist() == list(range(RUNS))
        assert each.attachment_names == ["ledger", "note"]
        assert PARTS not in each.annotations
        assert each.annotations["org.ommx-prefect.flow-run-id"] == flow_run_id
    table = solves(Experiment.load(name))
    assert table["objective"].tolist() == list(range(RUNS))
    assert set(table["experiment"]) == {name}
    assert totals(table)["runs"].tolist() == [RUNS]
    assert sealed.opens_with == f'ommx_prefect.load_experiment("{name}")'


def test_an_experiment_within_the_limit_is_what_it_was(name, monkeypatch):
    monkeypatch.undo()
    sealed = sealed_night(staged_night(name))
    assert sealed.parts == 0
    assert len(Experiment.load(name).runs) == RUNS
    assert NAME not in Experiment.load(name).attachment_names
    assert load_experiment(name).image_name == name


def test_what_comes_late_changes_the_parts_that_it_touches_and_no_others(name):
    flow_run_id = staged_night(name)
    first = sealed_night(flow_run_id)
    before, _ = parts_of(name)
    kept_whole = load_experiment(flow_run_id).image_name
    record_run(flow_run_id, RUNS)
    second = sealed_night(flow_run_id)
    after, parts = parts_of(name)
    assert second.counts == {"finished": RUNS + 1}
    assert [run.run_id for part in parts for run in part.runs] == list(range(RUNS + 1))
    digests = [x["digest"] for x in before["parts"]]
    assert [x["digest"] for x in after["parts"]][: len(digests) - 1] == digests[:-1]
    # What the index does not name any more has no name, and what was made of it neither.
    repository = name.rpartition(":")[0]
    assert part_names(name) == {f"{repository}:{x['tag']}" for x in after["parts"]}
    assert find(kept_whole) is None
    whole = load_experiment(flow_run_id)
    assert values_of(whole) == list(range(RUNS + 1))
    keys = [(run["run_id"], run["task_run"]) for run in whole.get_json("ledger")["runs"]]
    assert keys == [(number, f"solve-{number}") for number in range(RUNS + 1)]
    assert first.image_name == second.image_name

    record_run(flow_run_id, 99, started_at=1.0)  # it began before all others
    sealed_night(flow_run_id)
    assert values_of(load_experiment(flow_run_id)) == [99, *range(RUNS + 1)]
    again = sealed_night(flow_run_id)
    assert again == sealed_night(flow_run_id)


def test_one_that_failed_is_a_checkpoint_in_parts_until_it_is_finished(name):
    flow_run_id = staged_night(name)
    failed = sealed_night(flow_run_id, "failed")
    assert failed.parts >= 3
    assert find(name) is None
    whole = load_experiment(flow_run_id)
    assert (whole.status, whole.lifecycle_reason) == ("failed", "it was told so")
    assert values_of(whole) == list(range(RUNS)) == values_of(load_experiment(name))
    record_run(flow_run_id, RUNS)
    finished = sealed_night(flow_run_id)
    assert finished.counts == {"finished": RUNS + 1}
    assert values_of(load_experiment(flow_run_id)) == list(range(RUNS + 1))
    assert len(part_names(name)) == finished.parts
    assert load_experiment(flow_run_id).status == "finished"


def test_where_somebody_removed_the_names_of_parts_a_seal_puts_them_back(name):
    flow_run_id = staged_night(name)
    sealed_night(flow_run_id)
    before = part_names(name)
    for each in before:
        remove_image(each)
    record_run(flow_run_id, RUNS)
    sealed_night(flow_run_id)
    assert values_of(load_experiment(flow_run_id)) == list(range(RUNS + 1))
    assert len(part_names(name)) >= len(before)


def test_a_part_that_is_gone_or_another_is_said_to_be(name):
    flow_run_id = staged_night(name)
    sealed_night(flow_run_id)
    digest = find(name)
    assert digest is not None
    places = places_in(digest)
    index = decode(read_documents(digest))
    parts = [decode(read_documents(place.digest)) for place in places]
    with pytest.raises(exceptions.DocumentError, match="are expected"):
        join(index, places, list(reversed(parts)))
    data = read_blob(index.attachments.entries[NAME].digest)
    with pytest.raises(exceptions.DocumentError):
        places_of(index, lambda _: data.replace(b'"runs": 30', b'"runs": 31'))
    blob_path(places[1].digest).rename(blob_path(places[1].digest).with_suffix(".away"))
    with pytest.raises(exceptions.UnreadableError, match=places[1].tag):
        load_experiment(flow_run_id)
    with pytest.raises(exceptions.UnknownImageError, match=places[1].tag):
        load_experiment(name)
    blob_path(places[1].digest).with_suffix(".away").rename(blob_path(places[1].digest))
    assert values_of(load_experiment(flow_run_id)) == list(range(RUNS))


# ------------------------------------------------------------ registries


def test_it_is_pushed_part_by_part_and_opens_on_another_machine(registry, tmp_path):
    name = f"{registry.host}/acme/large-{uuid.uuid4().hex[:8]}:one"
    flow_run_id = staged_night(name)
    sealed = sealed_night(flow_run_id)
    push_image(name, sealed.manifest_digest, ["latest"])
    document, _ = parts_of(name)
    tags = [x["tag"] for x in document["parts"]]
    assert tags_of(name) == sorted([*tags, "one", "latest"])
    put = [line for line in registry.log.splitlines() if '"PUT' in line and "/manifests/" in line]
    order = [line.partition("/manifests/")[2].partition(" ")[0] for line in put]
    assert [x for x in order if x in {*tags, "one", "latest"}][-2:] == ["one", "latest"]

    ids = list(range(RUNS))
    outputs = [{"value": number} for number in ids]
    found = json.loads(on_machine(tmp_path / "other", ELSEWHERE, name))
    assert found == [ids, outputs, "of the flow", 0, ids]
    pulled, listed, shown = map(json.loads, on_machine(tmp_path / "third", PULL, name).splitlines())
    assert pulled["digest"] == sealed.manifest_digest
    # By digest OMMX names what it fetched.
    named = {row["image"]: (row["kind"], row["runs"]) for row in listed if "@" not in row["image"]}
    assert named.pop(name) == ("sealed", RUNS)
    assert set(named) == {f"{name.rpartition(':')[0]}:{tag}" for tag in tags}
    assert {kind for kind, _ in named.values()} == {"part"}
    assert (len(shown["runs"]), shown["parts"]) == (RUNS, len(tags))
    assert values_of(pull_experiment(name)) == ids


def on_machine(root, script, *arguments):
    """Run a script on a machine, which is a process with a Local Registry of its own."""
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(root)}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.check_output(command, env=env, text=True, timeout=TAKEN_SECONDS)


def test_one_composed_in_a_registry_is_in_parts_there(place, brief_waits):
    flow_run_id = staged_night(place.experiment, stage=place.stage)
    sealed = sealed_night(flow_run_id)
    assert sealed.composed_in == place.stage
    assert sealed.parts >= 3
    assert find(place.experiment) is None
    assert len(tags_of(place.experiment)) == sealed.parts + 1
    assert values_of(load_experiment(flow_run_id)) == list(range(RUNS))
    record_run(flow_run_id, RUNS)
    second = sealed_night(flow_run_id)
    assert (second.composed_in, second.counts) == (place.stage, {"finished": RUNS + 1})
    assert values_of(load_experiment(flow_run_id)) == list(range(RUNS + 1))
