"""A few megabytes of brackets are gigabytes of lists: records of many members are refused."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import msgpack
import pytest

from ommx_prefect import exceptions
from ommx_prefect._format.model import Documents, sha256_digest
from ommx_prefect._format.schemas import ConfigJson, ManifestJson, checked
from ommx_prefect._shards.archive import ARCHIVE_FORMAT, open_archive
from ommx_prefect._shards.digests import MOST_MEMBERS
from ommx_prefect._shards.schema import (
    MOST_SHARED_BYTES,
    MOST_SHARED_VALUES,
    fields_of,
    parsed,
)
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect.testing._scene import attempt_of, new_id
from tests.security.scene import Disk, recorded, seal_now

MOST_BYTES = 400_000_000
MANY = 30_000_000
ARRAY, MAP = b"\xdd" + MANY.to_bytes(4, "big"), b"\xdf" + MANY.to_bytes(4, "big")
HALF = MOST_MEMBERS // 2
# Made when they are asked for: they take hundreds of megabytes.
LISTS = {
    "lists": lambda: b"\x81\xa1a" + ARRAY + b"\x90" * MANY,
    "maps": lambda: b"\x81\xa1a" + ARRAY + b"\x80" * MANY,
    # Each is short.
    "some": lambda: b"\x81\xa1a\x92" + (b"\xdd" + HALF.to_bytes(4, "big") + b"\x90" * HALF) * 2,
    "map": lambda: b"\x81\xa1a" + MAP + b"\x00\xc0" * MANY,
    # Which say that they are long, one in another.
    "nested": lambda: b"\x81\xa1a" + ARRAY * 500,
}


def peak_of(read, match):
    tracemalloc.start()
    try:
        with pytest.raises(exceptions.DocumentError, match=match):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


pytestmark = pytest.mark.server  # it takes seconds


@pytest.mark.parametrize("kind", LISTS)
def test_a_shard_of_many_members_is_refused_before_it_is_large(kind):
    data = LISTS[kind]()
    assert peak_of(lambda: Shard.from_bytes(data), "not a shard") < MOST_BYTES
    assert peak_of(lambda: open_archive(data, new_id(), "x"), "no shard archive") < MOST_BYTES


def json_lists() -> bytes:
    return b'{"a":[' + b"[]," * MANY + b"[]]}"


DOCUMENTS = Documents(b"{}", b"{}", b"\x81\xa7columns\x80")


@pytest.mark.parametrize("part", ["manifest", "config", "parameters"])
def test_an_attempt_whose_experiment_has_many_members_is_refused_before_it_is_large(part):
    changed = {part: LISTS["lists"]() if part == "parameters" else json_lists()}
    flow_run_id = new_id()
    attempt = attempt_of(flow_run_id)
    shard = Shard(attempt, "finished", documents=replace(DOCUMENTS, **changed))
    data = shard.to_bytes()
    assert peak_of(lambda: Shard.from_bytes(data), "more than|exceeds") < MOST_BYTES
    packed = msgpack.packb({"format": ARCHIVE_FORMAT, "shard": data, "blobs": {}})
    read = peak_of(lambda: open_archive(packed, flow_run_id, attempt.key), "more than|exceeds")
    assert read < MOST_BYTES


@pytest.mark.parametrize("name", ["flow.json", "starts/x-1-n", "subflows/x", "rolled-back/x"])
def test_a_shared_document_of_many_bytes_is_refused_by_name_before_it_is_parsed(name, tmp_path):
    disk = Disk(tmp_path / "shared")
    flow_run_id = recorded(disk, tmp_path)
    disk.plant(f"{flow_run_id}/{name}", json_lists())
    wanted = f"{name}.*more than {MOST_SHARED_BYTES:,}"
    with pytest.raises(exceptions.OmmxPrefectError, match=wanted):
        seal_now(disk.seen_by(flow_run_id))


VALUES = {
    "keys": lambda: b"{" + b",".join(b'"%d":1' % x for x in range(500_000)) + b"}",
    "aliases": lambda: b'{"aliases":[' + b"1," * 1_000_000 + b"1]}",
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_shared_document_of_many_values_is_refused_before_each_is_told_of(kind):
    data = VALUES[kind]()

    def read():
        return parsed(FlowRecord, fields_of(data, 2, "x/flow.json", shared=True))

    assert peak_of(read, f"more than {MOST_SHARED_VALUES:,} values") < MOST_BYTES


@pytest.mark.parametrize(
    ("schema", "key"), [(ManifestJson, "layers"), (ConfigJson, "runs")], ids=["layers", "runs"]
)
def test_of_a_list_that_is_wrong_one_item_is_told(schema, key):
    """Of 28 MiB of brackets the errors alone took 9 GB."""
    document = {key: [[]] * 1_000_000}
    assert peak_of(lambda: checked(schema, document), "is wrong|lacks") < 10_000_000


def test_a_shard_of_long_texts_and_payload_is_read():
    payload = b"x" * 50_000_000
    shard = Shard(attempt_of(new_id()), "failed", "y" * 900_000, notes=("z" * 900_000,) * 3)
    assert Shard.from_bytes(shard.to_bytes()) == shard
    digest = sha256_digest(payload)
    held = replace(shard, payload={digest: payload})
    assert Shard.from_bytes(held.to_bytes()).payload == {digest: payload}
    many = json.dumps({"layers": list(range(100_000))}).encode()
    documents = replace(DOCUMENTS, manifest=many)
    assert Shard.from_bytes(replace(shard, documents=documents).to_bytes()).documents == documents
