"""Hidden folders of a killed `prune`: what came late is given back, and the rest goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from ommx.artifact import remove_image

from ommx_prefect._catalogue.keeping import prunable_files
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._stages import kept
from ommx_prefect._stages.documents import LOCK
from ommx_prefect._stages.kept import KEPT, put_away
from ommx_prefect._stages.left_aside import folders_aside
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from tests.support.large_nights import record_run, sealed_night, staged_night

NAME = "registry.test/aside/night:one"


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.fixture
def night():
    """The folder of a flow run with two Runs that was sealed."""
    flow_run_id = staged_night(NAME, runs=2)
    sealed_night(flow_run_id)
    yield stage_root() / flow_run_id
    remove_image(NAME, root=registry_root())


def killed_at_rename(monkeypatch, folder, *, late=False):
    """Put a folder away, and die right after it has gone; a record comes just before that."""
    rename = Path.rename

    def die(path, target):
        if late:
            record_run(folder.name, 8)
        rename(path, target)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", die)
        with pytest.raises(Killed), LocalStage(folder.name).locked():
            put_away(folder)
    (aside,) = folders_aside(stage_root())
    assert (aside / LOCK).exists()
    return aside


def pruned():
    """Let go of what is left; nothing else is old enough."""
    for each in prunable_files(3600.0):
        each.remove()


def test_a_record_that_came_while_a_prune_was_killed_is_given_back(night, monkeypatch):
    killed_at_rename(monkeypatch, night, late=True)
    (found,) = prunable_files(3600.0)
    assert (found.kind, found.bytes > 0) == ("left", True)
    found.remove()
    assert folders_aside(stage_root()) == []
    assert night.name in unsealed_flow_runs()
    assert sealed_night(night.name).counts == {"finished": 3}


def test_one_that_was_sealed_again_meanwhile_has_its_newer_documents(night, monkeypatch):
    killed_at_rename(monkeypatch, night, late=True)
    record_run(night.name, 9)
    assert sealed_night(night.name).counts == {"finished": 3}
    pruned()
    assert sealed_night(night.name).counts == {"finished": 4}


def test_one_into_which_nothing_came_stays_away(night, monkeypatch):
    killed_at_rename(monkeypatch, night)
    pruned()
    assert folders_aside(stage_root()) == []
    assert not night.exists()
    assert sealed_night(night.name).counts == {"finished": 2}


def test_what_is_being_put_away_is_left_alone(night, monkeypatch):
    aside = killed_at_rename(monkeypatch, night, late=True)
    with FileLock(aside / LOCK):
        pruned()
        assert aside.exists()
    pruned()
    assert sealed_night(night.name).counts == {"finished": 3}


def test_half_a_folder_that_was_to_be_brought_back_goes(night, monkeypatch):
    with LocalStage(night.name).locked():
        put_away(night)

    def die(path, data):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(kept.os, "utime", die)
        with pytest.raises(Killed):
            LocalStage(night.name)
    assert len(folders_aside(stage_root())) == 1
    pruned()
    assert folders_aside(stage_root()) == []
    assert sealed_night(night.name).counts == {"finished": 2}


def test_what_is_left_stays_while_the_database_cannot_be_read(night, monkeypatch):
    aside = killed_at_rename(monkeypatch, night, late=True)
    (found,) = prunable_files(3600.0)
    data = (stage_root() / KEPT).read_bytes()
    (stage_root() / KEPT).write_bytes(b"no database at all" * 100)
    with pytest.raises(OSError, match="cannot be read"):
        found.remove()
    assert aside.exists()
    (stage_root() / KEPT).write_bytes(data)
    shutil.rmtree(aside)
