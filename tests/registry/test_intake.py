"""Payload on its way into the Local Registry: checked first, flushed, and linked."""

from __future__ import annotations

import os

import pytest

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._registry import intake
from ommx_prefect._registry.intake import FEW, DamagedPayloadError, take_in


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
