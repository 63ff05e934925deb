"""Damage and mischief in a shared place: what is set aside is kept, what goes is the flow run's."""

from __future__ import annotations

import base64
import json
import os
import shutil
from dataclasses import replace

import pytest
from prefect.filesystems import LocalFileSystem

from ommx_prefect import exceptions, load_experiment
from ommx_prefect._format.decode import manifest_of
from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._registry.blobs import blob_path, read_documents
from ommx_prefect._sealing.composed import Composed
from ommx_prefect._sealing.lineage import Series
from ommx_prefect._shards.archive import payload_of
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages import oci_gathering, oci_manifests, oci_store
from ommx_prefect._stages.archive_store import ArchiveStore
from ommx_prefect._stages.block_store import FolderStore
from ommx_prefect._stages.documents import FLOW_RECORD, STATE_RECORD, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_groups import group_manifest, open_group
from ommx_prefect._stages.oci_manifests import SHARD_ANNOTATION, name_of, shard_manifest, tag_of
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.signing import Signer
from ommx_prefect._targets.oci import OciTarget
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id
from tests.security.fuzzing.scenes import small
from tests.security.scene import (
    FINISHED,
    Disk,
    layer_of,
    one_run,
    points_to,
    seal_now,
    sealed_here,
)
from tests.support.folder_registry import FolderRegistry, folder_registry
from tests.support.scripted_server import answering

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.fixture
def repository(tmp_path):
    """A registry, and the folder of one repository in it."""
    with folder_registry(tmp_path / "oci") as host:
        yield f"oci://{host}/acme/shards", tmp_path / "oci/acme/shards/manifests"


def recorded(stage, tmp_path, *numbers):
    """Let a worker record some attempts; return the flow run and its shards."""
    flow_run_id = new_id()
    worker = Host(tmp_path / "worker", flow_run_id, OciStore(stage))
    write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
    shards = [small(f"output {x}", attempt_of(flow_run_id, x), "finished") for x in numbers]
    for shard in shards:
        worker.stage.begin(shard.attempt)
        assert worker.stage.put(shard) is None
    oci_gathering.settle()
    return flow_run_id, shards


def test_a_tag_that_points_to_what_is_no_record_takes_nothing_but_itself_away(repository, tmp_path):
    """A registry deletes manifests, with all tags: that of somebody's experiment, for one."""
    stage, manifests = repository
    flow_run_id, shards = recorded(stage, tmp_path, 1, 2)
    experiment = json.dumps({"schemaVersion": 2, "annotations": {"of": "payroll"}}).encode()
    names = [manifests / "payroll-one", manifests / digest_of(experiment)]
    for path in names:
        path.write_bytes(experiment)
    Host(tmp_path / "sealing", flow_run_id, OciStore(stage)).stage.collect(())
    tag = manifests / f"{flow_run_id}_shards_{shards[0].attempt.key}"
    tag.write_bytes(experiment)
    sealing = Host(tmp_path / "sealing", flow_run_id, OciStore(stage))
    sealing.stage.collect(())
    assert sealing.stage.shards() == [x.bare for x in shards]
    sealing.stage.release()
    assert [path.read_bytes() for path in names] == [experiment, experiment]
    assert [x.name for x in manifests.iterdir() if x.name.startswith(flow_run_id)] == []


def test_no_record_goes_before_the_registry_lists_the_group_that_holds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(oci_gathering, "TOGETHER", 3)

    class Forgetful(FolderRegistry):
        """Takes groups, and lists none."""

        def _tags(self, handler, place, *rest):
            hidden = [x for x in (place / "manifests").iterdir() if "_groups_" in x.name]
            for path in hidden:
                path.rename(tmp_path / path.name)
            super()._tags(handler, place, *rest)

    with answering(Forgetful(tmp_path / "oci").script, keeps=True) as host:
        stage = f"oci://{host}/acme/shards"
        flow_run_id, shards = recorded(stage, tmp_path, 1, 2, 3)
        assert len(list(tmp_path.glob("*_groups_*"))) == 1
        sealing = Host(tmp_path / "sealing", flow_run_id, OciStore(stage))
        sealing.stage.collect(())
        assert sealing.stage.shards() == [x.bare for x in shards]
    oci_store._left_apart.clear()


def test_a_shard_is_no_larger_than_what_is_read_into_memory(repository, tmp_path, monkeypatch):
    """Whoever pushes a blob of gigabytes states its size, too."""
    stage, _ = repository
    monkeypatch.setattr(oci_manifests, "MOST_INLINE_BYTES", 0)
    flow_run_id, (shard,) = recorded(stage, tmp_path, 1)
    shutil.rmtree(tmp_path / "worker")
    monkeypatch.setattr(oci_store, "MOST_BLOB_BYTES", 100)
    sealing = Host(tmp_path / "sealing", flow_run_id, OciStore(stage))
    with pytest.raises(exceptions.DocumentError, match="more than 100 bytes") as caught:
        sealing.stage.collect(())
    assert shard.attempt.key in str(caught.value)


def cut(manifest):
    return manifest[:-9]


def forged(manifest):
    document = json.loads(manifest)
    document["annotations"]["org.ommx-prefect.shard"] = "gQ=="
    return json.dumps(document).encode()


@pytest.mark.parametrize("damage", [cut, forged])
def test_a_damaged_manifest_is_kept_here_before_it_is_removed_there(repository, tmp_path, damage):
    stage, manifests = repository
    flow_run_id, shards = recorded(stage, tmp_path, 1, 2)
    tag = manifests / f"{flow_run_id}_shards_{shards[0].attempt.key}"
    tag.write_bytes(damage(tag.read_bytes()))
    found = tag.read_bytes()
    sealing = Host(tmp_path / "sealing", flow_run_id, OciStore(stage))
    sealing.stage.set_aside()
    sealing.stage.release()
    (kept,) = (sealing.stage.path / "quarantine").iterdir()
    assert kept.read_bytes() == found
    assert not tag.exists()


def test_a_damaged_group_and_a_damaged_record_in_one_are_kept_here(
    repository, tmp_path, monkeypatch
):
    monkeypatch.setattr(oci_gathering, "TOGETHER", 3)
    stage, manifests = repository
    flow_run_id, _ = recorded(stage, tmp_path, 1, 2, 3, 4, 5, 6)
    one, other = (x for x in manifests.iterdir() if "_groups_" in x.name)
    one.write_bytes(cut(one.read_bytes()))
    records = dict(open_group(name_of(other.name), "", other.read_bytes()).records)
    hurt = next(x for x in records if "/shards/" in x)
    records[hurt] = records[hurt].replace(b"output", b"OUTPUT")
    other.write_bytes(group_manifest(name_of(other.name), records))
    wanted = {one.read_bytes(), records[hurt]}
    sealing = Host(tmp_path / "sealing", flow_run_id, OciStore(stage))
    sealing.stage.set_aside()
    sealing.stage.release()
    assert {x.read_bytes() for x in (sealing.stage.path / "quarantine").iterdir()} == wanted
    told = Quarantine(sealing.stage).names()
    assert told == sorted(x.partition("/")[2] for x in (name_of(one.name), hurt))
    assert len(sealing.stage.shards()) == 2


def test_a_record_that_no_memory_holds_is_refused_and_stays_where_it_is(tmp_path):
    """A hole of terabytes takes no room on a disk."""
    disk, flow_run_id = Disk(tmp_path / "shared"), new_id()
    worker = Host(tmp_path / "worker", flow_run_id, disk.store)
    shard = small("output", attempt_of(flow_run_id), "finished")
    worker.stage.put(shard)
    path = disk.plant(f"{flow_run_id}/shards/{attempt_of(flow_run_id, 2).key}", b"\x82")
    os.truncate(path, 2**42)
    sealing = Host(tmp_path / "sealing", flow_run_id, disk.store)
    with pytest.raises(exceptions.DocumentError, match=rf"{path.name}.*do not fit twice"):
        sealing.stage.collect(())
    sealing.stage.set_aside()
    assert sealing.stage.shards() == [shard.bare]
    sealing.stage.release()
    assert [x for x in disk.folder.rglob("*") if x.is_file()] == [path]


def test_a_record_that_nobody_signed_is_kept_as_it_was_found(tmp_path):
    disk, flow_run_id = Disk(tmp_path / "shared"), new_id()
    worker = Host(tmp_path / "worker", flow_run_id, disk.store)
    shard = small("output", attempt_of(flow_run_id), "finished")
    worker.stage.put(shard)
    path = disk.folder / flow_run_id / "shards" / shard.attempt.key
    found = path.read_bytes()
    block = LocalFileSystem(basepath=str(disk.folder))
    signer = Signer(b"a key that only our hosts have")
    store = ArchiveStore("shared", lambda: FolderStore("shared", block), signer=lambda: signer)
    sealing = Host(tmp_path / "sealing", flow_run_id, store)
    sealing.stage.set_aside()
    sealing.stage.release()
    (kept,) = (sealing.stage.path / "quarantine").iterdir()
    assert kept.read_bytes() == found
    assert not path.exists()


def with_digest(name, shard, digest):
    """The manifest of a shard, with another digest of its payload wherever one stands."""
    (layer,) = payload_of(shard)
    documents = shard.documents
    forged = documents.manifest.replace(layer.digest.encode(), digest.encode())
    evil = replace(shard, documents=replace(documents, manifest=forged))
    manifest = json.loads(shard_manifest(name, shard, shard.to_bytes()))
    manifest["annotations"][SHARD_ANNOTATION] = base64.b64encode(evil.to_bytes()).decode()
    return json.dumps(manifest).replace(layer.digest, digest).encode()


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("kind", ["shards", "checkpoints"])
def test_a_digest_that_is_a_path_sends_and_writes_no_file_of_the_host(
    repository, tmp_path, kind, absolute
):
    """A registry may be fooled, or be the colleague's own: it checks no layers."""
    stage, manifests = repository
    precious = tmp_path / "precious/thesis.tex"
    precious.parent.mkdir()
    precious.write_text("all of it")
    flow_run_id, _ = recorded(stage, tmp_path, 1)
    documents = encode(one_run(layer_of(f"sha256:{'0' * 64}")))
    shard = Shard(attempt_of(flow_run_id, 7), "interrupted", documents=documents)
    name = f"{flow_run_id}/{kind}/{shard.attempt.key}"
    up = "../" * 20
    digest = f"sha256:{precious if absolute else up + str(precious)}"
    (manifests / tag_of(name)).write_bytes(with_digest(name, shard, digest))
    sealing = SharedStage(LocalStage(flow_run_id), OciStore(stage))
    write_document(sealing, STATE_RECORD, FINISHED)
    with pytest.raises(exceptions.SealError, match=f"{name}.*no digest"):
        seal_now(sealing)
    for folder in (tmp_path / "oci", LocalStage(flow_run_id).path):
        assert not [x for x in folder.rglob("*") if x.is_file() and b"all of it" in x.read_bytes()]
    assert precious.stat().st_nlink == 1
    assert [x.name for x in precious.parent.iterdir()] == ["thesis.tex"]
    assert precious.read_text() == "all of it"


def pushed(host, repository, digest):
    """Push an experiment of this host to another repository, as anybody may who has it."""
    documents = read_documents(digest)
    manifest = manifest_of(documents.manifest)
    with Repository(host, repository) as there:
        for layer in (manifest["config"], *manifest["layers"]):
            there.push_blob(blob_path(layer["digest"]), layer["digest"])
        there.put_manifest("one", documents.manifest, MANIFEST_MEDIA_TYPE)
    return Descriptor(MANIFEST_MEDIA_TYPE, digest, len(documents.manifest))


def test_to_open_an_earlier_night_moves_no_name_of_this_host(tmp_path):
    """Whoever can push to the repository points a tag of it to an experiment of his own."""
    with folder_registry(tmp_path / "oci") as host:
        name = f"{host}/acme/night:one"
        mine = sealed_here(new_id(), image_name=name)
        other = sealed_here(new_id(), image_name=f"registry.example/acme/{new_id()}:one")
        subject = pushed(host, "acme/night", other.manifest_digest)
        stage = SharedStage(LocalStage(new_id()), OciStore(f"oci://{host}/acme/shards"))
        series = Series("", "", "", f"{host}/acme/night", "")
        found = Composed(name, OciTarget(stage, name), subject, series, {}).open()
        again = Composed(name, OciTarget(stage, name), subject, series, {}).open()
    for opened in (found, again):
        assert opened.runs[0].get_json("payload") == {"of": other.flow_run_id}
    assert points_to(name) == mine.manifest_digest
    assert load_experiment(mine.flow_run_id).runs[0].get_json("payload")["of"] == mine.flow_run_id


@pytest.mark.parametrize("damage", ["gone", "other bytes", "no object", None])
def test_a_night_whose_config_is_not_to_be_had_is_none_to_follow(tmp_path, damage):
    """Else one such image in a repository would leave each later night without one before it."""
    with folder_registry(tmp_path / "oci") as host:
        name = f"{host}/acme/night:one"
        mine = sealed_here(new_id(), image_name=name)
        subject = pushed(host, "acme/night", mine.manifest_digest)
        manifest = manifest_of(read_documents(mine.manifest_digest).manifest)
        config = tmp_path / "oci/acme/night/blobs" / manifest["config"]["digest"]
        if damage == "gone":
            config.unlink()
        elif damage == "other bytes":
            config.write_bytes(config.read_bytes()[::-1])
        elif damage == "no object":
            manifest["config"] |= {"digest": digest_of(b"[]"), "size": 2}
            (config.parent / digest_of(b"[]")).write_bytes(b"[]")
        stage = SharedStage(LocalStage(new_id()), OciStore(f"oci://{host}/acme/shards"))
        series = Series("", "", "", f"{host}/acme/night", "")
        night = Composed(name, OciTarget(stage, name), subject, series, manifest)
        assert night.is_finished() is (damage is None)
