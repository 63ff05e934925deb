"""What is set aside is kept, whatever is set aside under its name later."""

from __future__ import annotations

import pytest

from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect.testing._scene import attempt_of, new_id


@pytest.fixture
def stage(tmp_path):
    flow_run_id = new_id()
    return LocalStage(flow_run_id, tmp_path / flow_run_id)


@pytest.fixture
def folder_of(tmp_path):
    """Make the folder of a checkpoint with this record."""

    def make(data):
        folder = tmp_path / f"checkpoint-{data.decode()}"
        folder.mkdir()
        (folder / "record").write_bytes(data)
        return folder

    return make


def kept_in(quarantine):
    return sorted(path.read_bytes() for path in quarantine.folder.rglob("*") if path.is_file())


def test_an_object_and_folders_of_one_name_are_set_aside_one_after_another(stage, folder_of):
    quarantine, attempt = Quarantine(stage), attempt_of(stage.flow_run_id)
    name = f"checkpoints/{attempt.key}"
    quarantine.move(folder_of(b"1"), name)
    quarantine.keep(name, b"2")
    quarantine.move(folder_of(b"3"), name)
    quarantine.report()
    quarantine.keep(name, b"4")
    quarantine.move(folder_of(b"5"), name)
    assert kept_in(quarantine) == [b"1", b"2", b"3", b"4", b"5"]
    assert quarantine.names() == [name]
    assert [found.key for found in quarantine.attempts()] == [attempt.key]
    assert all(quarantine.holds(name, data) for data in (b"2", b"4"))
    assert not quarantine.holds(name, b"6")


def test_the_same_bytes_are_set_aside_once(stage):
    quarantine = Quarantine(stage)
    for data in (b"1", b"2", b"1"):
        quarantine.keep("flow.json", data)
    assert kept_in(quarantine) == [b"1", b"2"]


def test_all_that_was_set_aside_is_reported_whatever_it_was_called(stage):
    quarantine = Quarantine(stage)
    for name in ("strange/thing..", "flow.json", f"shards/{attempt_of(stage.flow_run_id).key}"):
        quarantine.keep(name, b"x")
    assert len(quarantine.names()) == 3
    quarantine.report()
    assert quarantine.names() == []
    assert len(kept_in(quarantine)) == 3
