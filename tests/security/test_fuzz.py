"""Changed bytes of any document, and of a whole stage: the same Runs, or one error that names it.

`OMMX_PREFECT_FUZZ_CASES` says how many cases; 200 if it is not set.
"""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ommx_prefect import exceptions
from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Documents
from ommx_prefect._format.schemas import LONGEST_TEXT
from ommx_prefect._sealing.ledger import read_ledger
from ommx_prefect._sealing.publish import Publication
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._shards.archive import open_archive, pack_archive
from ommx_prefect._shards.schema import ROOT_FLOW_RUN_KEY, fields_of, parsed, stored
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    PARTS,
    ROLLED_BACK,
    SUBFLOWS,
    End,
    FlowProcess,
    FlowRecord,
    Mark,
    PlaceRecord,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.oci_groups import group_manifest, new_group, open_group
from ommx_prefect._stages.oci_manifests import document_of, record_manifest, shard_manifest
from ommx_prefect._stages.signing import Signer
from ommx_prefect._stages.start_record import read_start, start_document
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id, shard_of
from tests.security.fuzzing.changes import changed_bytes
from tests.security.scene import Disk

CASES = int(os.environ.get("OMMX_PREFECT_FUZZ_CASES", "200"))
# Bytes that are the syntax of something, and texts that others have tripped over.
SIGNER = Signer(b"k" * 16)
SCHEMAS = (Attempt, FlowRecord, End, FlowProcess, PlaceRecord, Mark, Publication, SealedExperiment)


def refusal_of(read) -> str:
    """What the one kind of error says; whatever else is raised fails the test."""
    try:
        read()
    except exceptions.DocumentError as error:
        return str(error)
    return ""


def readers():
    """Each kind of document that comes from elsewhere: its bytes, and what reads them."""
    flow_run_id = new_id()
    attempt = attempt_of(flow_run_id)
    shard = shard_of(attempt, {"of": flow_run_id})
    documents = shard.documents
    assert documents is not None
    name, group = f"{flow_run_id}/shards/{attempt.key}", new_group(flow_run_id)
    start = start_document(attempt)
    archive = pack_archive(shard, lambda digest: [b'{"of":"%s"}' % flow_run_id.encode()])
    ledger = b'{"format": 1, "flow_run": {}, "runs": [], "task_runs": [], "subflows": [], '
    ledger += b'"split_columns": {}, "warnings": []}'
    return {
        "shard": (shard.to_bytes(), Shard.from_bytes),
        "archive": (archive, lambda data: open_archive(data, flow_run_id, attempt.key)),
        "start": (start, lambda data: read_start(data, flow_run_id, attempt.key)),
        "manifest": (
            documents.manifest,
            lambda data: decode(replace(documents, manifest=data)),
        ),
        "config": (documents.config, lambda data: decode(replace(documents, config=data))),
        "ledger": (ledger, read_ledger),
        "record manifest": (
            record_manifest(name, start),
            lambda data: document_of(name, data),
        ),
        "shard manifest": (
            shard_manifest(name, shard, shard.to_bytes()),
            lambda data: document_of(name, data),
        ),
        "group": (
            group_manifest(group, {name: shard.to_bytes()}),
            lambda data: open_group(group, "", data).records,
        ),
        "signed": (SIGNER.signed(name, start), lambda data: SIGNER.opened(name, data)),
    }  # fmt: skip


READERS = readers()


@pytest.mark.parametrize("kind", READERS)
def test_changed_bytes_of_a_document_are_read_or_refused_by_one_error(kind):
    data, read = READERS[kind]
    dice = random.Random(kind)
    for _ in range(CASES):
        case = changed_bytes(data, dice)
        said = refusal_of(lambda bytes_of_case=case: read(bytes_of_case))
        assert len(said) < 2000, case


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@pytest.mark.server
@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
@settings(max_examples=max(25, CASES // 8))
@given(data=st.data())
def test_fields_of_any_kind_are_one_error_or_a_document(schema, data):
    names = st.sampled_from([*schema.__dataclass_fields__, ROOT_FLOW_RUN_KEY, "x"]) | st.text(
        max_size=9
    )
    fields = data.draw(st.dictionaries(names, values, max_size=6))
    assert len(refusal_of(lambda: parsed(schema, fields))) < 2000


@pytest.mark.server
@settings(max_examples=CASES)
@given(st.binary(max_size=60) | values.map(lambda x: repr(x).encode()))
def test_any_bytes_are_one_error_or_a_document(data):
    for read in (
        lambda: Shard.from_bytes(data),
        lambda: fields_of(data, 2, "a/b"),
        lambda: decode(Documents(data, data, data)),
        lambda: SIGNER.opened("a/b", data),
    ):
        refusal_of(read)


@pytest.mark.server
@settings(max_examples=CASES)
@given(values)
def test_any_map_is_one_error_or_a_shard(value):
    try:
        packed = msgpack.packb(value)
    except (ValueError, OverflowError):  # lone surrogates, and numbers that no byte string holds
        return
    with pytest.raises(exceptions.DocumentError):
        Shard.from_bytes(packed)


def test_an_integer_beyond_64_bits_is_refused_where_it_stands():
    """OMMX would refuse the whole experiment, and name nobody."""
    attempt = attempt_of(new_id())
    for wrong in ({"n": 2**63}, {"n": -(2**63) - 1}):
        with pytest.raises(exceptions.DocumentError, match="beyond 64 bits"):
            parsed(Attempt, {**stored(vars(attempt)), "inputs": wrong})
    assert parsed(Attempt, {**stored(vars(attempt)), "inputs": {"n": 2**63 - 1}})


LONG, NAN = "x" * (LONGEST_TEXT + 1), float("nan")


@pytest.mark.parametrize(
    ("field", "value"),
    [("task", LONG), ("task_run", LONG), ("host", "x" * 301), ("started_at", NAN),
     ("started_at", float("inf")), ("attempt", -1), ("attempt", True), ("owner", "../x")],
)  # fmt: skip
def test_a_text_without_end_and_a_number_that_is_none_are_refused_where_they_stand(field, value):
    fields = {**stored(vars(attempt_of(new_id()))), field: value}
    with pytest.raises(exceptions.DocumentError, match=f"field '{field}' is wrong") as caught:
        parsed(Attempt, fields)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("field", ["flow_run", "flow", "registry"])
def test_a_flow_record_has_no_text_without_end(field):
    with pytest.raises(exceptions.DocumentError, match=f"field '{field}' is wrong"):
        parsed(FlowRecord, {**stored(vars(flow_record(new_id()))), field: LONG})


def test_an_error_shows_no_more_than_people_read():
    with pytest.raises(exceptions.DocumentError) as caught:
        fields_of(b'{"format": "%s"}' % (b"x" * 3_000_000), 1)
    assert len(str(caught.value)) < 200
    assert len(str(exceptions.DocumentError("x" * 10**6))) <= exceptions.DocumentError.longest + 1


@pytest.mark.server  # it takes seconds
def test_a_changed_stage_gives_the_same_runs_or_one_error_that_names_the_object(tmp_path):
    """Whole stages, one byte-level change each, as the next host sees them."""
    disk = Disk(tmp_path / "shared")
    flow_run_id = new_id()
    worker = Host(tmp_path / "worker", flow_run_id, disk.store)
    record = replace(flow_record(flow_run_id), stage=disk.store.name)
    write_document(worker.stage, FLOW_RECORD, record)
    attempts = [attempt_of(flow_run_id, number) for number in range(4)]
    worker.stage.put(shard_of(attempts[0], [flow_run_id, 0]))
    worker.stage.put(shard_of(attempts[1], [flow_run_id, 1]))
    worker.stage.put(shard_of(attempts[2], [flow_run_id, 2]), PARTS)
    worker.stage.begin(attempts[3])
    worker.stage.write(f"{ROLLED_BACK}/{new_id()}", {})
    sub = new_id()
    write_document(worker.stage, f"{SUBFLOWS}/{sub}", replace(record, flow_run_id=sub))

    def seen():
        host = Host(tmp_path / f"host-{new_id()}", flow_run_id, disk.store)
        try:
            host.stage.collect(())
            return (
                read_flow_record(host.stage), host.stage.shards(), host.stage.shards(PARTS),
                host.stage.starts(), host.stage.listed(ROLLED_BACK), host.stage.listed(SUBFLOWS),
            )  # fmt: skip
        finally:
            shutil.rmtree(host.local.path, ignore_errors=True)

    def same(found) -> None:
        assert found == before

    before = seen()
    paths = sorted(path for path in disk.folder.rglob("*") if path.is_file())
    dice = random.Random(1)
    for _ in range(CASES):
        path = dice.choice(paths)
        data = path.read_bytes()
        path.write_bytes(changed_bytes(data, dice))
        said = refusal_of(lambda: same(seen()))
        assert not said or path.name in said
        path.write_bytes(data)
    assert seen() == before
