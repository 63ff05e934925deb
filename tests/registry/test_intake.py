"""Payload on its way into the Local Registry: checked first, flushed, and linked."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from ommx.artifact import remove_image

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._registry import files, intake
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._registry.intake import FEW, DamagedPayloadError, import_layout, take_in
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.testing._scene import attempt_of, new_id, shard_of


@pytest.fixture
def folders(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir(mode=0o750)
    return source, target


def put(folder, data):
    digest = sha256_digest(data)
    (folder / digest[7:]).write_bytes(data)
    return digest


@pytest.mark.parametrize("files", [1, FEW, FEW + 1])
@pytest.mark.parametrize("knows_syncfs", [True, False])
def test_blobs_are_linked_with_the_mode_of_the_registry(folders, files, knows_syncfs, monkeypatch):
    if not knows_syncfs:
        monkeypatch.setattr(intake, "_syncfs", lambda: None)
    source, target = folders
    digests = [put(source, b"payload %d" % number) for number in range(files)]
    take_in(source, target, digests)
    assert sorted(os.listdir(target)) == sorted(digest[7:] for digest in digests)
    for name in os.listdir(target):
        assert os.path.samefile(source / name, target / name)
        assert (target / name).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("files", [1, FEW + 1])
def test_nothing_is_named_where_one_blob_is_damaged(folders, files):
    source, target = folders
    digests = [put(source, b"payload %d" % number) for number in range(files)]
    (source / digests[-1][7:]).write_bytes(b"something else")
    with pytest.raises(DamagedPayloadError, match=digests[-1]):
        take_in(source, target, digests)
    assert os.listdir(target) == []


def test_what_the_registry_has_is_young_again(folders):
    source, target = folders
    digest = put(source, b"known")
    put(target, b"known")
    os.utime(target / digest[7:], (1, 1))
    take_in(source, target, [digest])
    assert (target / digest[7:]).stat().st_mtime > 1


def test_what_the_source_lacks_is_not_taken_from_the_registry(folders):
    source, target = folders
    digest = put(target, b"of another flow run")
    with pytest.raises(FileNotFoundError):
        take_in(source, target, [digest])


def test_a_link_in_the_source_is_not_followed(folders):
    source, target = folders
    digest = put(target.parent, b"outside")
    (source / digest[7:]).symlink_to(target.parent / digest[7:])
    with pytest.raises(Exception, match="no regular file"):
        take_in(source, target, [digest])
    assert os.listdir(target) == []


def test_a_file_system_that_flushes_no_folders_takes_an_experiment(tmp_path, monkeypatch):
    sync = files._sync_names

    def refuse(number):
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(number)

    stage = LocalStage(new_id(), tmp_path / "stage")
    shard = shard_of(attempt_of(stage.flow_run_id), {"x": 1})
    stage.pin(payload_of(shard))
    monkeypatch.setattr(files, "_sync_names", refuse)
    name = "registry.test/intake:one"
    found = import_layout(stage.path, shard.documents, name)
    assert found.runs[0].get_json("payload") == {"x": 1}
    remove_image(name, root=registry_root())
