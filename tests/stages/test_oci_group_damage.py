"""Signed and damaged records that were put together in an OCI registry: what a seal believes."""

from __future__ import annotations

import json
import zlib

import msgpack
import pytest

from ommx_prefect import exceptions
from ommx_prefect._stages.oci_groups import group_manifest, open_group
from ommx_prefect._stages.oci_manifests import GROUP_ANNOTATION, GROUP_TYPE, inline_manifest
from ommx_prefect.testing._scene import new_id
from tests.support.oci_night import Night, bare

pytestmark = pytest.mark.usefixtures("no_credentials", "brief_waits", "few")

KEY = b"a key that only our hosts have"


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
        group, _ = group_of(night)
        own = group.partition("/")[2]
        assert f"shards/{shard.attempt.key}: in {own}: {said}" in str(caught.value)


def group_of(night):
    """The name and the manifest of the one group."""
    ((name, manifest),) = [
        x for x in night.place.objects(night.flow_run_id).items() if "/groups/" in x[0]
    ]
    return name, manifest


def test_a_damaged_record_in_a_group_is_refused_alone_and_set_aside_alone(night):
    night.record(1, 2, 3)
    name, manifest = group_of(night)
    records = dict(open_group(name, "", manifest).records)
    hurt = f"{night.flow_run_id}/shards/{night.shards[1].attempt.key}"
    records[hurt] = records[hurt].replace(b"output 2", b"output 7")
    night.place.put(name, group_manifest(name, records))
    with pytest.raises(exceptions.DocumentError, match="not those that were written") as caught:
        night.collected()
    assert f"{hurt} in stage" in str(caught.value)
    assert f"is refused: in {name.partition('/')[2]}: " in str(caught.value)
    sealing = night.host("sealing")
    sealing.stage.set_aside()
    assert sealing.stage.shards() == [night.shards[0].bare, night.shards[2].bare]
    aside = [path.name for path in (sealing.stage.path / "quarantine").iterdir()]
    assert aside == [f"shards.{night.shards[1].attempt.key}"]
    sealing.stage.release()
    assert night.place.objects(night.flow_run_id) == {}


def _packed(name, fields, most=None):
    return inline_manifest(name, GROUP_TYPE, GROUP_ANNOTATION, zlib.compress(fields)[:most])


def _no_base64(name, manifest):
    changed = json.loads(manifest)
    changed["annotations"][GROUP_ANNOTATION] += "!"
    return json.dumps(changed).encode()


def _cut_short(name, manifest):
    return _packed(name, msgpack.packb({}), 6)


def _grouped(records, format_=1):
    return lambda name, manifest: _packed(
        name, msgpack.packb({"format": format_, "records": records(name.partition("/")[0])})
    )


# What is made of the name and the manifest of a group, and what the error says of it.
DAMAGE = {
    "no base64": (_no_base64, "not a"),
    "cut short": (_cut_short, "ends too early"),
    "no map": (lambda name, _: _packed(name, b"nonsense"), "no map of MessagePack"),
    "another's record": (_grouped(lambda _: {f"{new_id()}/shards/a": b""}), "is no record of"),
    "a document": (
        _grouped(lambda flow_run_id: {f"{flow_run_id}/rolled-back/a": b""}),
        "is no record of",
    ),
    "no bytes": (_grouped(lambda _: {"a": 1}), "more than"),
    "a later format": (_grouped(lambda _: {}, 2), "upgrade"),
    "a bomb": (lambda name, _: _packed(name, msgpack.packb(b"\0" * 60_000_000)), "4,194,304"),
    "a name of another": (
        lambda _, manifest: manifest.replace(b"/groups/", b"/groups/x", 1),
        "the record of",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_group_is_named_and_the_rest_is_sealed_without_it(night, damage):
    night.record(1, 2, 3, 4)
    name, manifest = group_of(night)
    make, said = DAMAGE[damage]
    night.place.put(name, make(name, manifest))
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
