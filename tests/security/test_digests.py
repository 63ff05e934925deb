"""A flipped bit anywhere in a record is found, whatever it would have meant."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ommx_prefect import exceptions
from ommx_prefect._shards.digests import check_digest, with_digest
from ommx_prefect._shards.schema import stored
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.documents import FLOW_RECORD, read_flow_record, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.start_record import read_start, start_document
from ommx_prefect.testing._scene import attempt_of, flow_record, new_id, shard_of

FLOW_RUN = new_id()


def flipped(data: bytes, step: int = 1):
    for place in range(0, len(data), step):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            yield place, bytes(changed)


def assert_refused(read, place):
    with pytest.raises(exceptions.DocumentError):
        pytest.fail(f"byte {place} is {read()}")


def test_a_flipped_bit_in_a_shard_is_found():
    data = Shard(attempt_of(FLOW_RUN), "finished", parameters={"objective": 1.5}).to_bytes()
    assert Shard.from_bytes(data).to_bytes() == data
    for place, changed in flipped(data):
        assert_refused(lambda data=changed: Shard.from_bytes(data), place)


def test_a_flipped_bit_in_a_start_record_is_found():
    attempt = attempt_of(FLOW_RUN)
    data = start_document(attempt)
    assert read_start(data, FLOW_RUN, attempt.key) == attempt
    for place, changed in flipped(data):
        assert_refused(lambda data=changed: read_start(data, FLOW_RUN, attempt.key), place)


def test_a_flipped_bit_in_a_flow_record_seals_under_no_other_name():
    stage = LocalStage(FLOW_RUN)
    write_document(stage, FLOW_RECORD, flow_record(FLOW_RUN))
    path = stage.path / FLOW_RECORD
    data = path.read_bytes()
    for place, changed in flipped(data, 3):
        path.write_bytes(changed)
        assert_refused(lambda: read_flow_record(stage), place)
    path.write_bytes(data)
    assert read_flow_record(stage) == flow_record(FLOW_RUN)


def test_a_record_under_another_name_is_refused():
    flow_run_id = new_id()
    stage = LocalStage(flow_run_id)
    shard = shard_of(attempt_of(flow_run_id), {"of": flow_run_id})
    stage.put(shard)
    path = stage.path / "shards" / shard.attempt.key
    twin = path.with_name(replace(shard.attempt, nonce="twin").key)
    twin.write_bytes(path.read_bytes())
    with pytest.raises(exceptions.DocumentError, match=f"{twin.name}.*it is the record of"):
        stage.shards()
    other = LocalStage(new_id())
    other.put(shard)
    with pytest.raises(exceptions.DocumentError, match="it belongs to flow run"):
        other.shards()
    stage.write("rolled-back/one", {})
    one = stage.path / "rolled-back" / "one"
    one.rename(one.with_name("two"))
    with pytest.raises(exceptions.DocumentError, match="rolled-back/two"):
        stage.listed("rolled-back")


def test_a_record_of_an_earlier_release_has_no_digest_and_is_read():
    stage = LocalStage(new_id())
    record = flow_record(stage.flow_run_id)
    for number in ({}, {"format": 0}, {"format": 1}):
        write_document(stage, FLOW_RECORD, record)
        (stage.path / FLOW_RECORD).write_text(json.dumps({**number, **stored(vars(record))}))
        assert read_flow_record(stage) == record


def test_a_digest_cannot_be_left_out_of_what_has_one():
    data = with_digest(b'{"format": 2, "stage": "local"}', "a/b")
    check_digest(data, "a/b")
    for changed in (b'{"format": 2, "stage": "local"}', data + b"\n", data[:-2] + b"}", b"", b"{}"):
        with pytest.raises(exceptions.DocumentError):
            check_digest(changed, "a/b")
