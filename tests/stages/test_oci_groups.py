"""Records that a process puts together in an OCI registry: what is read back, and what stays."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal

import pytest

from ommx_prefect import exceptions, flow, seal
from ommx_prefect._oci.repository import Repository
from ommx_prefect._stages import oci_gathering, oci_manifests, oci_removal, oci_store
from ommx_prefect._stages.documents import PARTS
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect.testing._scene import Host, attempt_of
from tests.security.fuzzing.scenes import small
from tests.support.images import Elsewhere, read_elsewhere
from tests.support.oci_night import Night, bare, left_in, manifests_of
from tests.support.places import RegistryPlace
from tests.support.reading import run_flow
from tests.support.registry_server import running_registry
from tests.support.stage_tasks import note
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("no_credentials", "brief_waits", "few")


def test_records_that_were_put_together_are_read_as_they_were_and_leave_nothing(night):
    night.record(*range(8))
    parts = [
        small(f"part {x}", attempt_of(night.flow_run_id, 10 + x), "finished") for x in range(2)
    ]
    for part in parts:
        assert night.worker.stage.put(part, PARTS) is None
        oci_gathering.settle()
    running = attempt_of(night.flow_run_id, 20)
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


def _die(folder, stage, flow_run_id, deletions):
    """Record three attempts, and die before one of the deletions."""
    oci_gathering.TOGETHER = 3
    delete, done = Repository.delete_manifest, []

    def counted(self, digest, **options):
        if len(done) == deletions:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(digest)
        return delete(self, digest, **options)

    Repository.delete_manifest = counted
    worker = Host(folder, flow_run_id, OciStore(stage))
    for number in range(3):
        attempt = attempt_of(flow_run_id, number)
        worker.stage.begin(attempt)
        worker.stage.put(small(f"output {number}", attempt, "finished"))


@pytest.mark.parametrize("deletions", [0, 4, *full(1, 5)])
def test_a_process_that_is_killed_while_it_puts_records_together_loses_none(night, deletions):
    arguments = (night.folder / "killed", night.place.stage, night.flow_run_id, deletions)
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
    last = attempt_of(night.flow_run_id, 3)
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
    assert len(night.place.tags(f"{night.flow_run_id}_")) == 8
    sealing = night.collected()
    assert sealing.stage.shards() == bare(night.shards)
    sealing.stage.release()
    assert left_in(night.place) == set()


@pytest.mark.server
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
