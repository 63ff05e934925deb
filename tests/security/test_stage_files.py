"""Links, pipes, devices and folders where a stage has files; and who may read what it keeps."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from ommx_prefect import exceptions
from ommx_prefect._registry.names import checkpoint_name
from ommx_prefect._stages import block_store
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect.testing._scene import attempt_of, new_id, shard_of
from tests.security.scene import (
    FAILED,
    Disk,
    points_to,
    recorded,
    seal_now,
    sealed_here,
)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "shared")


def test_a_link_in_the_folder_of_a_stage_is_not_written_through(tmp_path):
    victim = tmp_path / "authorized_keys"
    victim.write_text("mine")
    flow_run_id = new_id()
    stage = LocalStage(flow_run_id)
    stage.put(shard_of(attempt_of(flow_run_id), {"of": flow_run_id}))
    for name in ("oci-layout", "index.json"):
        (stage.path / name).symlink_to(victim)
    sealed_here(flow_run_id, image_name=f"registry.example/acme/{flow_run_id}:one")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "device"])
@pytest.mark.timeout(60)
def test_what_is_no_file_is_refused_and_waits_for_nobody(disk, tmp_path, kind):
    flow_run_id = recorded(disk, tmp_path)
    path = disk.folder / flow_run_id / "starts" / "x-1-n"
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = tmp_path / "hidden.json"
    hidden.write_text("{}")
    if kind == "folder":
        path = path / "inner"
        path.parent.mkdir()
        path.write_text("{}")
    make = {
        "fifo": os.mkfifo,
        "link": lambda x: x.symlink_to(hidden),
        "folder": lambda x: None,
        "device": lambda x: x.symlink_to("/dev/zero"),
    }
    make[kind](path)
    done = threading.Event()
    found: list[BaseException] = []

    def seal() -> None:
        try:
            seal_now(disk.seen_by(flow_run_id))
        except BaseException as error:
            found.append(error)
        done.set()

    threading.Thread(target=seal, daemon=True).start()
    assert done.wait(30), "the seal waits for whoever writes to the pipe"
    assert isinstance(found[0], exceptions.SealError)
    assert "x-1-n" in str(found[0])


def test_a_link_in_the_place_of_a_flow_runs_folder_removes_and_writes_nothing(disk, tmp_path):
    """Setting damage aside removed each file of the folder to which somebody's link pointed."""
    flow_run_id = recorded(disk, tmp_path)
    stage = disk.seen_by(flow_run_id)
    victim = tmp_path / "victim"
    for path in (victim / "thesis.tex", victim / "shards" / "x-1-n"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    before = sorted(victim.rglob("*"))
    (disk.folder / flow_run_id).rename(tmp_path / "moved")
    (disk.folder / flow_run_id).symlink_to(victim)
    attempt = attempt_of(flow_run_id)
    for use in (
        lambda: stage.set_aside(),
        lambda: disk.store.read(f"{flow_run_id}/shards/x-1-n"),
        lambda: disk.store.write(f"{flow_run_id}/shards/{attempt.key}", b"new"),
        lambda: disk.store.remove_all([f"{flow_run_id}/thesis.tex"]),
    ):
        with pytest.raises(exceptions.StageError, match=f"{flow_run_id}.* is a link"):
            use()
    assert stage.put(shard_of(attempt, {"of": "this host"}))  # it waits here
    assert sorted(victim.rglob("*")) == before


def test_a_folder_that_is_swapped_in_the_moment_of_a_write_gets_nothing(
    disk, tmp_path, monkeypatch
):
    flow_run_id = recorded(disk, tmp_path)
    victim, moved = tmp_path / "victim", tmp_path / "moved"
    (victim / "shards").mkdir(parents=True)
    write = block_store.write_durable

    def swapped(*args, **options):
        (disk.folder / flow_run_id).rename(moved)
        (disk.folder / flow_run_id).symlink_to(victim)
        write(*args, **options)

    monkeypatch.setattr(block_store, "write_durable", swapped)
    disk.store.write(f"{flow_run_id}/shards/late-1-n", b"new")
    assert [path.name for path in victim.rglob("*")] == ["shards"]
    assert (moved / "shards" / "late-1-n").exists()


def test_a_folder_that_is_removed_in_the_moment_of_a_write_is_made_again(
    disk, tmp_path, monkeypatch
):
    flow_run_id, write, removed = new_id(), block_store.write_durable, []

    def emptied(*args, **options):
        if not removed:
            removed.append(1)
            (disk.folder / flow_run_id / "shards").rmdir()
        write(*args, **options)

    monkeypatch.setattr(block_store, "write_durable", emptied)
    disk.store.write(f"{flow_run_id}/shards/late-1-n", b"new")
    assert removed
    assert (disk.folder / flow_run_id / "shards" / "late-1-n").exists()


def test_a_link_in_the_place_of_a_folder_of_records_is_not_written_through(disk, tmp_path):
    flow_run_id = recorded(disk, tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (disk.folder / flow_run_id / "starts").symlink_to(victim)
    disk.seen_by(flow_run_id).begin(attempt_of(flow_run_id))
    assert not list(victim.iterdir())


def test_the_host_folder_reads_no_pipe_and_no_link(tmp_path):
    stage = LocalStage(new_id())
    stage.write("state.json", {"status": "finished", "state": "Completed", "reason": None})
    path = stage.path / "state.json"
    moved = path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(moved)
    with pytest.raises(exceptions.DocumentError, match=r"state\.json"):
        stage.read("state.json")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(exceptions.DocumentError, match=r"state\.json"):
        stage.read("state.json")


def test_the_host_folder_reads_no_file_of_another_user():
    if os.geteuid() != 0:
        pytest.skip("only root gives a file to another user")
    stage = LocalStage(new_id())
    stage.write("state.json", {"status": "finished", "state": "Completed", "reason": None})
    os.chown(stage.path / "state.json", 12345, 12345)
    with pytest.raises(exceptions.DocumentError, match=r"state\.json.*belongs to user 12345"):
        stage.read("state.json")


def test_what_this_host_keeps_others_cannot_read(disk, tmp_path):
    old = os.umask(0)
    try:
        flow_run_id = recorded(disk, tmp_path)
        sealed = seal_now(disk.seen_by(flow_run_id), FAILED)
    finally:
        os.umask(old)
    assert points_to(checkpoint_name(sealed.image_name)) == sealed.manifest_digest
    folder = LocalStage(flow_run_id).path
    for path in (folder, *folder.rglob("*")):
        if path.parent.name == "sha256":  # a link to the Local Registry's own file
            continue
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("data", [b"[" * 200_000, b"9" * 5_000, b"\xff", b"[1]"], ids=range(4))
def test_a_record_that_cannot_be_parsed_stops_no_look_at_what_waits(data):
    stage = LocalStage(new_id())
    stage.path.mkdir(parents=True)
    (stage.path / "flow.json").write_bytes(data)
    try:
        assert stage.flow_run_id in unsealed_flow_runs()
    finally:
        shutil.rmtree(stage.path)
