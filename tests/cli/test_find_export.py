"""`find` and `export`: Runs across experiments, and plain files."""

from __future__ import annotations

import hashlib
import json

import pandas as pd
import pytest
from ommx.experiment import Experiment
from rocrate.rocrate import ROCrate

from ommx_prefect._registry.names import find, move_names
from ommx_prefect.analysis import known_values
from tests.support.nights import EVIL, log_run


@pytest.mark.parametrize(
    "text",
    ["objective", "objective=>5", "objective=<-5", "objective==5", "outcome==error", "=5", ""],
)
def test_what_is_no_condition_is_refused_and_finds_not_simply_nothing(text, command):
    answer = command("find", text)
    assert answer.code == 2
    assert "is no condition; write key=value" in answer.err


def test_runs_are_found_across_experiments(nights, command):
    told = ["instance=small", "objective>6", "--in", f"{nights.repository}:"]
    found = command("find", *told, "--json").json
    assert {row["image"] for row in found} == {nights.first, nights.second}
    assert all(row["parameters"]["objective"] == 7.0 for row in found)
    assert len([row for row in found if row["image"] == nights.first]) == 2
    shown = command("find", *told)
    assert shown.code == 0
    assert nights.first in shown.out


def test_a_run_of_an_experiment_with_two_names_is_found_once(command):
    night = Experiment("nights.local/named:one")
    log_run(night, series="named")
    night.commit()
    move_names(find("nights.local/named:one"), {"nights.local/named:latest": None})
    assert len(command("find", "series=named", "--json").json) == 1


def accumulated(name: str, own: str, *earlier: str) -> None:
    """Leave an experiment with one Run of each flow run, its own last."""
    night = Experiment(name)
    night.set_annotation("org.ommx-prefect.flow-run-id", own)
    night.set_annotation("org.ommx-prefect.earlier-runs", str(len(earlier)))
    for flow_run in (*earlier, own):
        log_run(night, series="accumulated", flow=flow_run, prefect__flow_run_id=flow_run)
    night.commit()


def test_a_run_that_several_experiments_hold_is_found_once(command):
    repository = "nights.local/accumulated"
    accumulated(f"{repository}:2", "two", "one")  # the image of the first is removed
    accumulated(f"{repository}:3", "three", "one", "two")
    found = command("find", "series=accumulated", "--json").json
    told = {row["parameters"]["flow"]: (row["image"], row["run"]) for row in found}
    assert len(found) == 3
    assert told["one"] in [(f"{repository}:2", 0), (f"{repository}:3", 0)]
    assert (told["two"], told["three"]) == ((f"{repository}:2", 1), (f"{repository}:3", 2))
    listed = {row["image"]: row for row in command("list", repository, "--json").json}
    assert [listed[f"{repository}:{n}"]["runs"] for n in (2, 3)] == [1, 1]
    shown = command("show", f"{repository}:3", "--json").json
    assert ([row["run"] for row in shown["runs"]], shown["earlier Runs"]) == ([2], "2")


def test_failed_nights_are_searched_and_nothing_found_is_said(nights, command):
    found = command("find", "instance=half", "--in", nights.repository, "--json").json
    assert [row["image"] for row in found] == [nights.failed]
    assert "No Run is like this" in command("find", "instance=nowhere").out
    said = command("find", "instanse=nowhere").out
    assert "No Run here has instanse. Did you mean instance?" in said
    assert command("find", "nonsense").code == 2


@pytest.fixture(scope="module")
def exported(nights, command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "night"
    answer = command("export", nights.first, str(folder), "--ro-crate", "--json")
    assert answer.code == 0, answer.err
    return folder, answer.json


def test_tables_come_as_csv_and_parquet_and_read_back(exported, nights):
    folder, _ = exported
    frame = Experiment.load(nights.first).run_parameters_df()
    for table in (
        pd.read_csv(folder / "parameters.csv"),
        pd.read_parquet(folder / "parameters.parquet"),
    ):
        assert table["run"].tolist() == frame.index.tolist()
        assert table["instance"].tolist() == frame["instance"].tolist()
    solves = pd.read_parquet(folder / "solves.parquet")
    assert str(solves["objective"].dtype) == "Float64"
    assert EVIL in solves["instance"].tolist()
    assert (folder / "totals.csv").read_text().startswith("adapter,variant,runs,solved")


def test_exchange_formats_read_back(exported):
    folder, _ = exported
    known = known_values(folder / "solves.solu").set_index("instance")
    assert known.loc["small", "objective"] == 7.0
    assert known.loc["none", "status"] == "infeasible"
    assert len(known) == 3
    assert "small,highs,0,1,1,1,7.0" in (folder / "solves.trc").read_text()


def test_attachments_are_whole_and_the_index_names_them(exported, nights):
    folder, document = exported
    run = Experiment.load(nights.first).runs[2]
    path = folder / "attachments" / "run-00002" / "solver.log"
    assert path.read_bytes() == run.get_blob("solver.log")
    index = json.loads((folder / "export.json").read_text())
    assert index == document
    entry = next(x for x in index["files"] if x["path"] == "attachments/run-00002/solver.log")
    assert (entry["attachment"], entry["run"]) == ("solver.log", 2)
    for each in index["files"]:
        assert hashlib.sha256((folder / each["path"]).read_bytes()).hexdigest() == each["sha256"]


def test_what_is_stored_compressed_is_exported_as_what_it_is(exported):
    folder, document = exported
    told = {x["path"]: x["media_type"] for x in document["files"]}
    assert told["attachments/run-00000/solver.log"] == "text/plain; charset=utf-8"
    assert told["attachments/run-00000/trajectory.json"] == "application/json"
    found = json.loads((folder / "attachments/run-00000/trajectory.json").read_text())
    assert found.keys() == {"seconds", "primal", "dual", "nodes"}


def test_the_crate_is_one_that_its_library_reads(exported, nights):
    folder, document = exported
    crate = ROCrate(folder)
    assert crate.mainEntity["name"] == "nightly"
    assert "ComputationalWorkflow" in crate.mainEntity.type
    (action,) = [x for x in crate.contextual_entities if x.type == "CreateAction"]
    assert action["instrument"] == crate.mainEntity
    assert len(action["result"]) == len(document["files"]) + 1
    assert action["actionStatus"].endswith("CompletedActionStatus")
    profiles = {x.id for x in crate.root_dataset["conformsTo"]}
    assert "https://w3id.org/ro/wfrun/workflow/0.5" in profiles


def test_a_folder_that_is_not_empty_is_left_alone(exported, nights, command):
    folder, _ = exported
    answer = command("export", nights.first, str(folder))
    assert answer.code == 2
    assert "not empty" in answer.err


def test_without_pyarrow_there_is_a_note(nights, command, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = command("export", nights.failed, str(tmp_path / "out"))
    assert "pip install pyarrow" in answer.out
    assert not (tmp_path / "out" / "solves.parquet").exists()


def test_a_parameter_called_run_is_exported_beside_the_ids_of_runs(command, tmp_path):
    night = Experiment("nights.local/run-parameter:one")
    log_run(night, run=3, x=1)
    night.commit()
    assert command("export", night.image_name, str(tmp_path / "out")).code == 0
    assert pd.read_csv(tmp_path / "out" / "parameters.csv").to_dict("records") == [
        {"run_id": 0, "run": 3, "x": 1}
    ]
