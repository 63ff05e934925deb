"""What a seal does not believe of the records in a storage block."""

from __future__ import annotations

import uuid

import msgpack
import prefect
import pytest

from ommx_prefect import (
    exceptions,
    flow,
    load_experiment,
    seal,
)
from ommx_prefect._shards.digests import packed_with_digest
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.resolve import store_at
from ommx_prefect._stages.roots import stage_root
from tests.support.places import (
    fsspec_place,
)
from tests.support.reading import run_flow
from tests.support.stage_tasks import note

pytestmark = pytest.mark.usefixtures("server")


def _archive(data):
    return msgpack.unpackb(data)


def _with_blob(data, change):
    archive = _archive(data)
    name = next(iter(archive["blobs"]))
    change(archive["blobs"], name)
    return msgpack.packb(archive)


def _foreign(data):
    archive = _archive(data)
    shard = msgpack.unpackb(archive["shard"])
    shard["attempt"]["owner"] = str(uuid.uuid4())
    return msgpack.packb({**archive, "shard": _repacked(shard)})


def _repacked(shard):
    """Pack a shard as whoever means harm does: with the digest of what it is now."""
    del shard["digest"]
    return packed_with_digest(msgpack.packb(shard))


def _other_config(data):
    archive = _archive(data)
    shard = msgpack.unpackb(archive["shard"])
    shard["documents"]["config"] += b" "
    return msgpack.packb({**archive, "shard": _repacked(shard)})


# What was done to the object of a shard -> its new bytes, and what the refusal says.
DAMAGE = {
    "a changed payload": (
        lambda data: _with_blob(data, lambda blobs, name: blobs.update({name: b"other"})),
        "5 bytes with digest",
    ),
    "a lost payload": (
        lambda data: _with_blob(data, lambda blobs, name: blobs.pop(name)),
        "it lacks blob",
    ),
    "a payload of nobody's": (
        lambda data: _with_blob(data, lambda blobs, _: blobs.update({"0" * 64: b""})),
        "its shard does not name",
    ),
    "changed documents": (_other_config, "with digest"),
    "a shard of another flow run": (_foreign, "it belongs to flow run"),
    "half of it": (lambda data: data[: len(data) // 2], "no shard archive"),
    "a text": (lambda _: b"hello", "no shard archive"),
    "a later format": (
        lambda data: msgpack.packb({**_archive(data), "format": "v2"}),
        "format 'v2' is not",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_refused_by_name_and_the_rest_is_sealed_once_it_is_gone(
    shared, damage, patient_seal
):
    change, said = DAMAGE[damage]
    names = []

    @flow(stage=shared.stage)
    def one():
        note("kept")
        before = shared.objects(prefect.runtime.flow_run.id)
        note("damaged")
        after = shared.objects(prefect.runtime.flow_run.id)
        names.extend(name for name in after.keys() - before.keys() if "/shards/" in name)
        shared.put(names[0], change(after[names[0]]))

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    assert state.is_completed()
    with pytest.raises(exceptions.SealError, match=said) as caught:
        seal(flow_run_id)
    assert f"{names[0]} in stage '{shared.stage}' is refused" in str(caught.value)
    shared.delete(names[0])
    assert seal(flow_run_id).counts == {"finished": 2}
    experiment = load_experiment(flow_run_id)
    assert experiment.runs[0].get_json("output") == {"x": "kept"}
    # That the other attempt began is still known, and that its record is gone is said.
    assert experiment.runs[1].attachment_names == []
    assert "its record is lost" in experiment.annotations["org.ommx-prefect.degraded"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("readme.txt", b"hello"),
        ("shards/1/2", b"hello"),
        ("starts/abc", b"[]"),
        ("starts/abc", b"{"),
        ("subflows/abc", b"[]"),
        ("subflows/abc", b'{"flow_run_id": "another"}'),
    ],
)
def test_an_object_that_is_no_record_of_this_flow_run_is_refused_by_name(shared, name, data):
    @flow(stage=shared.stage)
    def one():
        note(1)
        shared.put(f"{prefect.runtime.flow_run.id}/{name}", data)

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    with pytest.raises(exceptions.SealError, match=f"{flow_run_id}/{name} in stage"):
        seal(flow_run_id)
    shared.delete(f"{flow_run_id}/{name}")
    assert seal(flow_run_id).counts == {"finished": 1}


def test_a_shard_under_the_name_of_another_is_refused(shared):
    @flow(stage=shared.stage)
    def one():
        note(1)
        objects = shared.objects(prefect.runtime.flow_run.id)
        found = next(name for name in objects if "/shards/" in name)
        shared.put(f"{found}x", objects[found])

    state = one(return_state=True)
    with pytest.raises(exceptions.SealError, match="it is the record of"):
        seal(state.state_details.flow_run_id)


def test_an_object_that_another_host_replaces_after_the_listing_is_read_whole(s3):
    place = fsspec_place(s3, f"replaced-{uuid.uuid4().hex[:8]}")
    remote = store_at(place.stage)
    for data in (b"the first checkpoint", b"2nd", b"a checkpoint that has become longer"):
        place.put("flow-run/parts/latest", data)
        assert remote.read("flow-run/parts/latest") == data
        assert remote.names("flow-run/") == ["flow-run/parts/latest"]


def test_a_shard_survives_the_way_there_and_back_bit_by_bit(shared):
    found = {}

    @flow(stage=shared.stage)
    def one():
        note(1)
        objects = shared.objects(prefect.runtime.flow_run.id)
        found.update({n: d for n, d in objects.items() if "/shards/" in n})

    sealed = run_flow(one)
    archive = _archive(next(iter(found.values())))
    assert archive["format"] == "application/vnd.ommx-prefect.shard.v1+msgpack"
    shard = Shard.from_bytes(archive["shard"])
    assert shard.to_bytes() == archive["shard"]
    assert shard.attempt.root_flow_run_id == sealed.flow_run_id
    assert (stage_root() / sealed.flow_run_id / "sealed.json").exists()
