"""The folder of a host is this user's own: nothing in what others put there is read or removed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ommx_prefect._flowrun.host_folder import host_folder
from ommx_prefect._flowrun.interruptions import interruption_elsewhere, interruption_noted

LONG_AGO = 1_000_000_000


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, and this user's own in it, which is not there yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp" / f"ommx-prefect-{os.getuid()}"


def old_work(folder: Path) -> Path:
    """A file and a folder of long ago."""
    (folder / "thesis").mkdir(parents=True)
    (folder / "notes").write_text("mine")
    for path in (folder / "thesis", folder / "notes"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return folder


def interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), interruption_noted("a", 1):
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_above", [True, False])
def test_what_a_planted_link_points_to_stays(temporary, tmp_path, is_above):
    home = old_work(tmp_path / "home" / "interrupted")
    if is_above:
        temporary.symlink_to(home.parent)
    else:
        temporary.mkdir()
        (temporary / "interrupted").symlink_to(home)
    with pytest.raises(PermissionError, match="no folder of this user"):
        host_folder("interrupted")
    interrupted()
    assert sorted(x.name for x in home.iterdir()) == ["notes", "thesis"]
    assert interruption_elsewhere("a", 1) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_a_folder_of_somebody_else_is_not_used(temporary):
    temporary.mkdir()
    os.chown(temporary, 12345, 12345)
    with pytest.raises(PermissionError, match="no folder of this user"):
        host_folder("solves")


def test_it_is_closed_to_others_also_where_it_was_open(temporary):
    temporary.mkdir(mode=0o755)
    assert host_folder("solves") == temporary / "solves"
    assert [x.stat().st_mode & 0o777 for x in (temporary, temporary / "solves")] == [0o700] * 2
    interrupted()
    assert "KeyboardInterrupt" in str(interruption_elsewhere("a", 1))
