"""Records that a process puts together in an OCI registry: what is read back, and what stays."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import uuid
import zlib

import msgpack
import pytest

from ommx_prefect import exceptions, flow, seal
from ommx_prefect._oci.repository import Repository
from ommx_prefect._stages import oci_gathering, oci_manifests, oci_removal, oci_store
from ommx_prefect._stages.documents import FLOW_RECORD, PARTS, write_document
from ommx_prefect._stages.oci_groups import group_manifest, open_group
from ommx_prefect._stages.oci_manifests import GROUP_ANNOTATION, GROUP_TYPE, inline_manifest
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.signing import Signer
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id
from tests.security.fuzzing.scenes import small
from tests.support.images import Elsewhere, read_elsewhere
from tests.support.places import RegistryPlace
from tests.support.reading import run_flow
from tests.support.registry_server import running_registry
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("no_credentials", "brief_waits")

KEY = b"a key that only our hosts have"


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Three are enough to be put together."""
    monkeypatch.setattr(oci_gathering, "TOGETHER", 3)
    yield
    oci_store._left_apart.clear()
    oci_store._without_deletion.clear()


class Night:
    """One flow run of a worker, in a place, and hosts that seal it."""

    def __init__(self, place, tmp_path, key=b""):
        self.place, self.folder, self.owner = place, tmp_path, new_id()
        self.worker = self.host("worker", key)
        self.shards = []
        write_document(self.worker.stage, FLOW_RECORD, flow_record(self.owner))

    def host(self, name, key=b""):
        store = OciStore(self.place.stage, lambda: Signer(key))
        return Host(self.folder / name, self.owner, store)

    def record(self, *numbers):
        for number in numbers:
            attempt = attempt_of(self.owner, number)
            self.worker.stage.begin(attempt)
            self.shards.append(small(f"output {number}", attempt, "finished"))
            assert self.worker.stage.put(self.shards[-1]) is None
            oci_gathering.settle()

    def collected(self, key=b""):
        sealing = self.host(f"seal-{uuid.uuid4().hex}", key)
        sealing.stage.collect(())
        return sealing

    def kinds(self):
        """How many tags there are of each kind."""
        kinds = [name.split("/")[1] for name in self.place.objects(self.owner)]
        return {kind: kinds.count(kind) for kind in kinds}


@pytest.fixture
def night(place, tmp_path):
    return Night(place, tmp_path)


def bare(shards):
    return [shard.bare for shard in shards]


def manifests_of(place):
    """The folder in which a registry keeps the manifests and tags of a repository."""
    repository = place.stage.partition(place.server.host)[2]
    return place.server.folder / f"data/docker/registry/v2/repositories{repository}/_manifests"


def left_in(place):
    """The manifests that a repository has, tagged or not, and its tags."""
    files = manifests_of(place)
    return {
        path.name
        for folder in ("revisions/sha256", "tags")
        for path in (files / folder).glob("*")
        if any(path.rglob("link"))
    }


def test_records_that_were_put_together_are_read_as_they_were_and_leave_nothing(night):
    night.record(*range(8))
    parts = [small(f"part {x}", attempt_of(night.owner, 10 + x), "finished") for x in range(2)]
    for part in parts:
        assert night.worker.stage.put(part, PARTS) is None
        oci_gathering.settle()
    running = attempt_of(night.owner, 20)
    night.worker.stage.begin(running)
    assert night.kinds() == {"flow.json": 1, "groups": 3, "starts": 1, "parts": 1}
    sealing = night.collected()
    assert sealing.stage.shards() == bare(night.shards)
    assert sealing.stage.shards(PARTS) == bare(parts)
    assert sealing.stage.starts() == [running]
    for shard in night.shards:
        for digest, data in shard.payload.items():
            assert sealing.stage.bring(digest).read_bytes() == data
    sealing.stage.release()
    assert left_in(night.place) == set()


def test_what_is_sealed_of_a_group_is_not_brought_again(night):
    night.record(1, 2, 3)
    sealing = night.host("sealing")
    sealing.stage.collect({shard.attempt.key for shard in night.shards[:2]})
    assert sealing.stage.shards() == bare(night.shards[2:])


def test_a_record_of_an_earlier_form_seals_beside_a_group(night, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(oci_manifests, "MOST_INLINE_BYTES", 0)
        patched.setattr(oci_manifests, "MOST_WHOLE_BYTES", 0)
        patched.setattr(oci_gathering, "MOST_TOGETHER_BYTES", 0)
        patched.setattr(oci_store, "MOST_TOGETHER_BYTES", 0)
        night.record(1, 2)
    night.record(3, 4, 5)
    assert night.kinds() == {"flow.json": 1, "groups": 1, "shards": 2, "starts": 2}
    sealing = night.collected()
    assert sealing.stage.shards() == bare(night.shards)
    sealing.stage.release()
    assert left_in(night.place) == set()


@pytest.mark.usefixtures("server")
def test_a_flow_whose_records_were_put_together_is_sealed_as_ever(place, tmp_path):
    @flow(stage=place.stage, experiment=place.experiment)
    def whole():
        for x in range(7):
            note(x)
        oci_gathering.settle()
        return [name.split("_")[1] for name in place.tags()]

    sealed = run_flow(whole)
    assert sealed.state.result().count("groups") == 2
    assert seal(sealed.flow_run_id).composed_in == place.stage
    outputs = [{"x": x} for x in range(7)]
    assert read_elsewhere(place.experiment, tmp_path) == Elsewhere("finished", outputs)
    assert [run.get_json("output") for run in sealed.runs] == outputs
    assert left_in(place) == set()


# ---------------------------------------------------------------- death, and other hosts meanwhile


def _die(folder, stage, owner, deletions):
    """Record three attempts, and die before one of the deletions."""
    oci_gathering.TOGETHER = 3
    delete, done = Repository.delete_manifest, []

    def counted(self, digest, **options):
        if len(done) == deletions:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(digest)
        return delete(self, digest, **options)

    Repository.delete_manifest = counted
    worker = Host(folder, owner, OciStore(stage))
    for number in range(3):
        attempt = attempt_of(owner, number)
        worker.stage.begin(attempt)
        worker.stage.put(small(f"output {number}", attempt, "finished"))


@pytest.mark.parametrize("deletions", [0, 1, 4, 5])
def test_a_process_that_is_killed_while_it_puts_records_together_loses_none(night, deletions):
    arguments = (night.folder / "killed", night.place.stage, night.owner, deletions)
    process = multiprocessing.get_context("spawn").Process(target=_die, args=arguments)
    process.start()
    process.join(240)
    assert process.exitcode == -signal.SIGKILL
    sealing = night.collected()
    assert [shard.attempt.task_run for shard in sealing.stage.shards()] == [
        f"solve-{number}" for number in range(3)
    ]
    assert sealing.stage.starts() == []
    sealing.stage.release()
    assert left_in(night.place) == set()


def test_records_that_are_put_together_after_they_were_listed_are_found(night, monkeypatch):
    """Also the start of an attempt that had not ended then."""
    night.record(1, 2)
    last = attempt_of(night.owner, 3)
    night.worker.stage.begin(last)
    sealing = night.host("sealing")
    names = OciStore.names

    def names_and_more(self, prefix):
        found = names(self, prefix)
        monkeypatch.setattr(OciStore, "names", names)
        night.worker.stage.put(small("output 3", last, "finished"))
        oci_gathering.settle()
        return found

    monkeypatch.setattr(OciStore, "names", names_and_more)
    sealing.stage.collect(())
    assert night.kinds() == {"flow.json": 1, "groups": 1}
    assert sealing.stage.shards() == bare(night.shards)
    assert sealing.stage.starts() == [last]
    sealing.stage.release()
    later = night.collected()
    assert [shard.attempt for shard in later.stage.shards()] == [last]
    later.stage.release()
    assert left_in(night.place) == set()


def test_records_that_a_seal_removes_are_not_put_together(night, monkeypatch):
    """The seal is at it just when the group has been written."""
    night.record(1, 2)
    sealing = night.collected()
    put = Repository.put_manifest

    def put_and_release(self, reference, manifest, media_type):
        stored = put(self, reference, manifest, media_type)
        if "_groups_" in reference:
            monkeypatch.setattr(Repository, "put_manifest", put)
            sealing.stage.release()
        return stored

    monkeypatch.setattr(Repository, "put_manifest", put_and_release)
    night.record(3)
    later = night.collected()
    assert later.stage.shards() == bare(night.shards[2:])
    later.stage.release()
    assert left_in(night.place) == set()


@pytest.mark.parametrize("is_half_done", [False, True])
def test_what_could_not_be_deleted_goes_with_the_seal(night, monkeypatch, is_half_done):
    """docker-registry may answer 500 when a manifest is gone, and its tag is not."""
    delete = Repository.delete_manifest

    def fail(self, digest, *, once=False):
        if not once:
            return delete(self, digest)
        if is_half_done:
            shutil.rmtree(manifests_of(night.place) / "revisions/sha256" / digest[7:])
        raise exceptions.RegistryUnavailableError(self.registry, self.repository, "500")

    monkeypatch.setattr(Repository, "delete_manifest", fail)
    night.record(1, 2, 3)
    assert len(night.place.tags(f"{night.owner}_")) == 8
    sealing = night.collected()
    assert sealing.stage.shards() == bare(night.shards)
    sealing.stage.release()
    assert left_in(night.place) == set()


def test_a_registry_that_deletes_nothing_gets_one_group_and_no_more(tmp_path):
    with running_registry(tmp_path / "r", allow_delete=False) as server:
        night = Night(RegistryPlace(server, "acme/shards", None), tmp_path)
        night.record(*range(9))
        assert night.kinds() == {"flow.json": 1, "groups": 1, "shards": 9, "starts": 9}
        assert night.collected().stage.shards() == bare(night.shards)


def test_in_a_repository_of_many_tags_records_stay_by_themselves(night, monkeypatch):
    monkeypatch.setattr(oci_gathering, "MOST_TAGS", 5)
    night.record(1, 2, 3)
    assert night.kinds() == {"flow.json": 1, "shards": 3, "starts": 3}


@pytest.mark.parametrize("most_tags", [0, 300])
def test_tags_go_with_some_tombstones_at_once(night, monkeypatch, most_tags):
    monkeypatch.setattr(oci_removal, "MOST_TAGS", most_tags)
    monkeypatch.setattr(oci_removal, "TAGS_A_TOMBSTONE", 2)
    night.record(*range(5))
    night.collected().stage.release()
    assert left_in(night.place) == set()


# ---------------------------------------------------------------- signatures and damage


@pytest.mark.parametrize("key", [KEY, b""], ids=["with the key", "without a key"])
def test_signed_records_are_read_from_a_group(place, tmp_path, key):
    night = Night(place, tmp_path, KEY)
    night.record(1, 2, 3)
    assert night.collected(key).stage.shards() == bare(night.shards)


@pytest.mark.parametrize("key", [b"", b"the key of somebody else"], ids=["no key", "another"])
def test_each_record_of_a_group_that_is_not_signed_with_the_key_is_refused(place, tmp_path, key):
    night = Night(place, tmp_path, key)
    night.record(1, 2, 3)
    with pytest.raises(exceptions.DocumentError) as caught:
        night.collected(KEY)
    said = "it is not signed" if not key else "its signature is wrong"
    assert str(caught.value).startswith("4 records are refused")
    for shard in night.shards:
        assert f"shards/{shard.attempt.key}: {said}" in str(caught.value)


def group_of(night):
    """The name and the manifest of the one group."""
    ((name, manifest),) = [
        x for x in night.place.objects(night.owner).items() if "/groups/" in x[0]
    ]
    return name, manifest


def test_a_damaged_record_in_a_group_is_refused_alone_and_set_aside_alone(night):
    night.record(1, 2, 3)
    name, manifest = group_of(night)
    records = dict(open_group(name, "", manifest).records)
    hurt = f"{night.owner}/shards/{night.shards[1].attempt.key}"
    records[hurt] = records[hurt].replace(b"output 2", b"output 7")
    night.place.put(name, group_manifest(name, records))
    with pytest.raises(exceptions.DocumentError, match="not those that were written") as caught:
        night.collected()
    assert hurt in str(caught.value)
    assert "records are refused" not in str(caught.value)
    sealing = night.host("sealing")
    sealing.stage.set_aside()
    assert sealing.stage.shards() == [night.shards[0].bare, night.shards[2].bare]
    aside = [path.name for path in (sealing.stage.path / "quarantine").iterdir()]
    assert aside == [f"shards.{night.shards[1].attempt.key}"]
    sealing.stage.release()
    assert night.place.objects(night.owner) == {}


def _packed(name, fields, most=None):
    return inline_manifest(name, GROUP_TYPE, GROUP_ANNOTATION, zlib.compress(fields)[:most])


def _damaged(name, manifest, records):
    owner = name.partition("/")[0]
    changed = json.loads(manifest)
    changed["annotations"][GROUP_ANNOTATION] += "!"
    foreign = msgpack.packb({"format": 1, "records": {f"{new_id()}/shards/a": b""}})
    mark = msgpack.packb({"format": 1, "records": {f"{owner}/rolled-back/a": b""}})
    return {
        "no base64": (json.dumps(changed).encode(), "not a"),
        "cut short": (_packed(name, msgpack.packb(records), 6), "ends too early"),
        "no map": (_packed(name, b"nonsense"), "no map of MessagePack"),
        "another's record": (_packed(name, foreign), "is no record of"),
        "a document": (_packed(name, mark), "is no record of"),
        "no bytes": (_packed(name, msgpack.packb({"format": 1, "records": {"a": 1}})), "more than"),
        "a later format": (_packed(name, msgpack.packb({"format": 2, "records": {}})), "upgrade"),
        "a bomb": (_packed(name, msgpack.packb(b"\0" * 300_000_000)), "4,194,304"),
        "a name of another": (manifest.replace(b"/groups/", b"/groups/x", 1), "the record of"),
    }


DAMAGE = sorted(_damaged("a/groups/b", group_manifest("a/groups/b", {}), {}))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_group_is_named_and_the_rest_is_sealed_without_it(night, damage):
    night.record(1, 2, 3, 4)
    name, manifest = group_of(night)
    data, said = _damaged(name, manifest, {})[damage]
    night.place.put(name, data)
    with pytest.raises(exceptions.DocumentError, match=said) as caught:
        night.collected()
    assert f"{name} in stage" in str(caught.value)
    sealing = night.host("sealing")
    if damage == "a later format":  # which waits for an upgrade
        with pytest.raises(exceptions.UnknownFormatError):
            sealing.stage.set_aside()
        return
    sealing.stage.set_aside()
    assert sealing.stage.shards() == bare(night.shards[3:])


def test_a_group_whose_bytes_changed_on_the_registry_s_disk_is_named(night):
    night.record(1, 2, 3)
    name, manifest = group_of(night)
    (file,) = [
        path
        for path in (night.place.server.folder / "data").rglob("blobs/sha256/*/*/data")
        if path.read_bytes() == manifest
    ]
    file.write_bytes(manifest[:-80] + b"A" + manifest[-79:])
    with pytest.raises(exceptions.DocumentError, match="has another digest") as caught:
        night.collected()
    assert name in str(caught.value)
