"""Folders of sealed flow runs that `prune` has put away, and what names them again."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import replace

import pytest
from ommx.artifact import remove_image

from ommx_prefect import load_experiment
from ommx_prefect._catalogue.keeping import prunable_files
from ommx_prefect._recording.result_origins import origin_of, remember_origin
from ommx_prefect._recovery.recover import recover
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._sealing.result import read_sealed
from ommx_prefect._stages.documents import FLOW_RECORD, STATE_RECORD, End, read_end, write_document
from ommx_prefect._stages.kept import KEPT, put_away
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect.testing._scene import flow_record, new_id
from tests.support.large_nights import record_run, sealed_night, staged_night

NAME = "registry.test/kept/night:one"


@pytest.fixture
def night():
    """A flow run that was sealed."""
    flow_run_id = staged_night(NAME, runs=2)
    yield sealed_night(flow_run_id)
    remove_image(NAME, root=registry_root())


def files_of(flow_run_id):
    folder = stage_root() / flow_run_id
    return {x.name: x.read_bytes() for x in folder.rglob("*") if x.is_file() and x.name != ".lock"}


def put_all_away():
    for each in prunable_files(-1.0):
        each.remove()


def test_a_sealed_flow_run_is_put_away_whole_and_comes_back_when_it_is_named(night):
    flow_run_id = night.flow_run_id
    before = files_of(flow_run_id)
    assert {"flow.json", "state.json", "sealed.json"} <= before.keys()
    put_all_away()
    assert not (stage_root() / flow_run_id).exists()
    assert flow_run_id not in unsealed_flow_runs(unended=True)
    assert flow_run_id not in {row.flow_run_id for row in recover(dry_run=True)}
    assert len(load_experiment(flow_run_id).runs) == 2
    assert files_of(flow_run_id) == before
    put_all_away()
    assert sealed_night(flow_run_id) == night
    assert read_sealed(LocalStage(flow_run_id)).sealed == night


def test_a_subflow_of_a_sealed_flow_run_goes_with_it(night):
    part = replace(flow_record(new_id()), root_flow_run_id=night.flow_run_id, image_name="")
    write_document(LocalStage(part.flow_run_id), FLOW_RECORD, part)
    put_all_away()
    assert not (stage_root() / part.flow_run_id).exists()
    assert len(load_experiment(part.flow_run_id).runs) == 2
    other = replace(part, root_flow_run_id=new_id(), flow_run_id=new_id())
    root = replace(other, flow_run_id=other.root_flow_run_id)
    for each in (root, other):
        write_document(LocalStage(each.flow_run_id), FLOW_RECORD, each)
    put_all_away()  # this one's root is not sealed
    assert (stage_root() / other.flow_run_id / FLOW_RECORD).exists()
    for flow_run_id in (root.flow_run_id, other.flow_run_id):
        LocalStage(flow_run_id).remove(FLOW_RECORD)


def test_what_comes_later_extends_what_was_put_away(night):
    put_all_away()
    record_run(night.flow_run_id, 7)
    assert (stage_root() / night.flow_run_id / "sealed.json").exists()
    assert sealed_night(night.flow_run_id).counts == {"finished": 3}


def test_what_is_written_while_a_folder_is_put_away_is_given_back(night, monkeypatch):
    folder = stage_root() / night.flow_run_id
    rename = type(folder).rename

    def late(path, target):
        if path == folder:
            record_run(night.flow_run_id, 8)
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(folder), "rename", late)
        put_away(folder)
    assert len(list((folder / "shards").iterdir())) == 1
    # The folder is there again, with less than the database holds of it.
    assert sealed_night(night.flow_run_id).counts == {"finished": 3}


def test_what_is_rewritten_while_a_folder_is_put_away_is_not_what_was_put_away(night, monkeypatch):
    folder, stage = stage_root() / night.flow_run_id, LocalStage(night.flow_run_id)
    rename = type(folder).rename

    def late(path, target):
        if path == folder:
            write_document(stage, STATE_RECORD, End("failed", "Failed", "it was told so later"))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(folder), "rename", late)
        put_away(folder)
    with stage.locked():
        assert read_end(stage).status == "failed"
        assert read_sealed(stage).sealed == night


def test_an_empty_file_whose_writer_was_killed_is_none(caplog):
    kept = stage_root() / KEPT
    data = kept.read_bytes() if kept.exists() else None
    kept.write_bytes(b"")
    LocalStage(new_id())
    assert KEPT not in caplog.text
    if data is None:
        kept.unlink()
    else:
        kept.write_bytes(data)


def test_what_is_young_or_waits_or_may_go_on_stays(night):
    flow_run_id = night.flow_run_id
    for which in (prunable_files(3600.0), prunable_files(-1.0, "registry.test/other")):
        assert not any(x.kind == "documents" for x in which)
    assert [x.kind for x in prunable_files(-1.0, "registry.test/kept")] == ["documents"]
    for name in ("shards", "quarantine"):
        (stage_root() / flow_run_id / name).mkdir(exist_ok=True)
        (stage_root() / flow_run_id / name / "one").write_bytes(b"1")
        put_all_away()
        assert (stage_root() / flow_run_id / name / "one").exists()
        (stage_root() / flow_run_id / name / "one").unlink()
    state = LocalStage(flow_run_id).read(STATE_RECORD)
    LocalStage(flow_run_id).remove(STATE_RECORD)  # it runs again
    put_all_away()
    assert (stage_root() / flow_run_id).exists()
    LocalStage(flow_run_id).write(STATE_RECORD, state)


def test_what_is_kept_is_written_nowhere_else(night, caplog):
    put_all_away()
    with contextlib.closing(sqlite3.connect(stage_root() / KEPT)) as database, database:
        database.execute("UPDATE kept SET name = '../elsewhere' WHERE name = 'state.json'")
    assert not LocalStage(night.flow_run_id).has(STATE_RECORD)
    assert not list(stage_root().glob("*elsewhere"))
    assert "'../elsewhere' is none of a stage's documents" in caplog.text
    with contextlib.closing(sqlite3.connect(stage_root() / KEPT)) as database, database:
        database.execute("UPDATE kept SET name = 'state.json' WHERE name = '../elsewhere'")


@pytest.mark.parametrize("document", [b"[]", b'{"owner": 1}', b"{", b'{"owner": "../.."}'])
def test_what_is_damaged_stays_and_stops_no_other(night, document):
    path = LocalStage(new_id()).path / FLOW_RECORD
    path.parent.mkdir(parents=True)
    path.write_bytes(document)
    put_all_away()
    assert path.read_bytes() == document
    assert not (stage_root() / night.flow_run_id).exists()
    path.unlink()
    path.parent.rmdir()


def test_a_damaged_file_of_what_was_put_away_stops_no_other_flow_run(night, caplog):
    put_all_away()
    kept = stage_root() / KEPT
    data = kept.read_bytes()
    kept.write_bytes(b"no database at all" * 100)
    other = staged_night(f"{NAME}-other", runs=1)
    assert sealed_night(other).counts == {"finished": 1}
    assert KEPT in caplog.text
    kept.write_bytes(data)
    assert sealed_night(night.flow_run_id) == night
    remove_image(f"{NAME}-other", root=registry_root())


def test_origins_of_results_go_where_nobody_asks_for_them():
    for key in ("asked", "forgotten"):
        remember_origin(key, f"run-{key}")
        old = time.time() - 7200
        for path in (stage_root() / "origins").iterdir():
            os.utime(path, (old, old))
    assert origin_of("asked") == "run-asked"
    gone = [each for each in prunable_files(3600.0) if each.kind == "origins"]
    assert len(gone) == 1
    gone[0].remove()
    assert (origin_of("asked"), origin_of("forgotten")) == ("run-asked", None)


def test_a_folder_of_origins_from_which_all_went_is_no_flow_run():
    remember_origin("key", "run")
    for each in prunable_files(-1.0):
        each.remove()
    assert list((stage_root() / "origins").iterdir()) == []
    assert "origins" not in unsealed_flow_runs(unended=True)
