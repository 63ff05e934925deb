"""The stores that stages have, held to the contract that `ommx_prefect.testing` publishes."""

from __future__ import annotations

import errno
import os
import uuid

import pytest
from prefect.filesystems import LocalFileSystem

from ommx_prefect import flow
from ommx_prefect._stages.block_store import FolderStore, open_block_store
from ommx_prefect._stages.resolve import store_at
from ommx_prefect.exceptions import StageError
from ommx_prefect.testing import ShardStore, StageContract, Store, StoreContract
from tests.support.places import folder_place, fsspec_place, s3_place
from tests.support.reading import run_flow
from tests.support.registry_server import RegistryServer
from tests.support.shelf import Shelf
from tests.support.stage_tasks import note


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path) -> Store:
        block = LocalFileSystem(basepath=str(tmp_path / "shared"))
        return FolderStore("local-file-system/contract", block)


@pytest.mark.parametrize("folder", ["", "shards"])
def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    tmp_path, monkeypatch, folder
):
    store = FolderStore("local-file-system/stale", LocalFileSystem(basepath=str(tmp_path)))
    for name in ("flow.json", "shards/one", "shards/two"):
        store.write(f"flow-run/{name}", b"{}")
    scandir, lost = os.scandir, str(tmp_path / "flow-run" / folder).rstrip("/")

    def stale(path):
        if str(path).rstrip("/") == lost:
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return scandir(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", stale)
        with pytest.raises(StageError, match="Stale file handle"):
            store.names("flow-run/")
    assert len(store.names("flow-run/")) == 3
    assert store.names("nobody/") == []


@pytest.mark.usefixtures("server")
class TestSavedFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path) -> Store:
        return open_block_store(folder_place(tmp_path, f"folder-{uuid.uuid4().hex[:8]}").stage)


@pytest.mark.usefixtures("server")
class TestBucket(StoreContract):
    @pytest.fixture
    def store(self, s3) -> Store:
        return open_block_store(s3_place(s3, f"contract-{uuid.uuid4().hex[:8]}").stage)


@pytest.mark.usefixtures("server")
@pytest.mark.full
class TestFsspec(StoreContract):
    @pytest.fixture
    def store(self, s3) -> Store:
        return open_block_store(fsspec_place(s3, f"contract-{uuid.uuid4().hex[:8]}").stage)


@pytest.mark.usefixtures("no_credentials", "brief_waits")
class TestRegistry(StageContract):
    @pytest.fixture
    def store(self, registry: RegistryServer) -> ShardStore:
        return store_at(f"oci://{registry.host}/contract/p{uuid.uuid4().hex[:8]}")


class TestShelf(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Shelf()


class Forgetful(Shelf):
    """A store that is none: it lists what others keep there, too."""

    def names(self, prefix):
        return list(self.objects)


def test_the_contract_refuses_a_store_that_lists_too_much():
    with pytest.raises(AssertionError):
        StoreContract().test_names_are_those_of_one_flow_run(Forgetful())


SHELVES: dict[str, Shelf] = {}


def open_shelf(stage: str) -> Shelf:
    """What an entry point names."""
    if stage.endswith("/locked"):
        raise PermissionError("nobody has the key")
    return SHELVES.setdefault(stage, Shelf())


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution that brings a store for `shelf://`."""
    folder = tmp_path / "site" / "shelf-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[ommx_prefect.stores]\nshelf = {__name__}:open_shelf\n"
    )
    monkeypatch.syspath_prepend(folder.parent)


@pytest.mark.usefixtures("installed")
def test_a_store_that_a_package_brings_is_opened_by_its_scheme():
    name = f"shelf://acme/{uuid.uuid4().hex}"
    store_at(name).write("flow-run/flow.json", b"{}")
    assert SHELVES[name].objects == {"flow-run/flow.json": b"{}"}
    with pytest.raises(StageError, match=r"could not read flow-run/none: KeyError"):
        store_at(name).read("flow-run/none")


@pytest.mark.usefixtures("server", "installed")
def test_a_flow_keeps_its_records_in_a_store_that_a_package_brings():
    stage = f"shelf://acme/{uuid.uuid4().hex}"

    @flow(stage=stage)
    def night():
        note(1)
        return {name.split("/")[1] for name in SHELVES[stage].objects}

    sealed = run_flow(night)
    assert sealed.state.result() >= {"flow.json", "shards"}
    assert sealed.runs[0].get_json("output") == {"x": 1}
    assert sealed.ledger["flow_run"]["stage"] == stage
    assert SHELVES[stage].objects == {}


@pytest.mark.usefixtures("installed")
def test_a_store_that_cannot_be_opened_says_what_failed():
    with pytest.raises(StageError, match="open_shelf cannot open it: PermissionError: nobody"):
        store_at("shelf://acme/locked").names("")


def test_a_scheme_that_no_package_brings_is_refused_by_name():
    with pytest.raises(StageError, match=r"has the entry point 'rack' in the group"):
        store_at("rack://acme").names("")
