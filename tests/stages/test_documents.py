"""Documents of a stage: which format they have, and what is said of one that is not right."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import replace

import msgpack
import prefect
import pytest

from ommx_prefect import current_experiment, exceptions, flow
from ommx_prefect._flowrun.process_record import note_flow_process, read_flow_process
from ommx_prefect._shards.digests import packed_with_digest, with_digest
from ommx_prefect._shards.schema import stored
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    KINDS,
    PROCESS_RECORD,
    STARTS,
    STATE_RECORD,
    End,
    FlowRecord,
    kind_of,
    read_end,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from tests.support.stage_tasks import note

RECORD = FlowRecord(
    root_flow_run_id="f",
    image_name="registry.example/acme/night:one",
    replace=False,
    aliases=("latest", "best"),
    chosen=True,
    flow_run_id="f",
    flow_run="brave-test",
    flow="night",
    deployment_id="",
    scheduled_time="2026-01-01T00:00:00+00:00",
    parameters={"gap": 0.1, "limit": 3, "exact": True, "name": "a", "big": 2**70, "far": -math.inf},
)
ATTEMPT = Attempt("f", "f", 1, "t", "solve", "solve-0", 1, "n", 1.5, "host", 7, inputs={"x": True})


@pytest.fixture
def stage():
    return LocalStage(f"documents-{uuid.uuid4().hex[:8]}")


def attempt_in(stage):
    return replace(ATTEMPT, root_flow_run_id=stage.flow_run_id)


def record_in(stage):
    return replace(RECORD, root_flow_run_id=stage.flow_run_id, flow_run_id=stage.flow_run_id)


def _change(path, **fields):
    """Rewrite a document with some fields changed; those that are given as `...` go.

    Whoever changes it means to, and gives it the digest of what it is now.
    """
    document = {**json.loads(path.read_bytes()), **fields}
    del document["digest"]
    data = json.dumps({k: v for k, v in document.items() if v is not ...}).encode()
    name = path.relative_to(stage_root()).as_posix()
    path.write_bytes(with_digest(data, name) if "format" not in fields else data)


def _write_all(stage):
    """Write a document of every kind that this package reads by itself; return how each is read."""
    write_document(stage, FLOW_RECORD, record_in(stage))
    write_document(stage, STATE_RECORD, End("failed", "Failed", "ValueError: no"))
    note_flow_process(stage)
    stage.begin(attempt_in(stage))
    return {
        FLOW_RECORD: read_flow_record,
        STATE_RECORD: read_end,
        PROCESS_RECORD: read_flow_process,
        f"{STARTS}/{ATTEMPT.key}": lambda stage: stage.starts()[0],
    }


def test_documents_come_back_as_they_were_with_their_types(stage):
    readers = _write_all(stage)
    assert readers[FLOW_RECORD](stage) == record_in(stage)
    found = readers[FLOW_RECORD](stage).parameters
    assert {k: type(v) for k, v in found.items()} == {
        k: type(v) for k, v in RECORD.parameters.items()
    }
    assert readers[STATE_RECORD](stage) == End("failed", "Failed", "ValueError: no")
    assert stage.starts() == [attempt_in(stage)]
    assert stage.starts()[0].inputs["x"] is True


def test_every_document_says_its_format(stage):
    for name in _write_all(stage):
        assert json.loads((stage.path / name).read_bytes())["format"] == 2


def test_a_document_without_a_format_is_of_release_0_1_0_and_is_read(stage):
    for name, read in _write_all(stage).items():
        before = read(stage)
        _change(stage.path / name, format=...)
        assert read(stage) == before


def test_a_document_of_a_later_format_is_refused_with_what_to_do(stage):
    for name, read in _write_all(stage).items():
        _change(stage.path / name, format=3, something_new=[1])
        with pytest.raises(exceptions.UnknownFormatError) as caught:
            read(stage)
        assert str(stage.path / name) in str(caught.value)
        assert "has format 3" in str(caught.value)
        assert "upgrade ommx_prefect on this host" in str(caught.value)


# Document -> a change, and what is said of it.
WRONG = [
    (FLOW_RECORD, {"aliases": "latest"}, "'aliases' is wrong: Input should be a valid array"),
    (FLOW_RECORD, {"aliases": ["a", 1]}, "'aliases.1' is wrong: Input should be a valid string"),
    (FLOW_RECORD, {"push": "yes"}, "'push' is wrong: Input should be a valid boolean"),
    (FLOW_RECORD, {"parameters": {"x": [1]}}, "'parameters.x"),
    (FLOW_RECORD, {"colour": "red"}, "'colour' is wrong: Unexpected keyword argument"),
    (FLOW_RECORD, {"owner": ...}, "'owner' is wrong"),
    (FLOW_RECORD, {"format": "1"}, "its format is '1', and no number"),
    (STATE_RECORD, {"reason": 5}, "'reason' is wrong: Input should be a valid string"),
    (PROCESS_RECORD, {"pid": "7"}, "'pid' is wrong: Input should be a valid integer"),
    (PROCESS_RECORD, {"pid": True}, "'pid' is wrong: Input should be a valid integer"),
    (f"{STARTS}/{ATTEMPT.key}", {"started_at": "now"}, "'started_at' is wrong"),
    (f"{STARTS}/{ATTEMPT.key}", {"attempt": 1.5}, "'attempt' is wrong"),
]


@pytest.mark.parametrize(("name", "change", "said"), WRONG)
def test_a_field_of_another_type_is_one_error_that_names_file_and_field(stage, name, change, said):
    read = _write_all(stage)[name]
    _change(stage.path / name, **change)
    with pytest.raises(exceptions.DocumentError) as caught:
        read(stage)
    assert f"{stage.path / name} is damaged" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("data", [b"[]", b"{", b"", b"\xff", b"3"])
def test_what_is_no_document_is_refused_by_name(stage, data):
    write_document(stage, FLOW_RECORD, RECORD)
    (stage.path / FLOW_RECORD).write_bytes(data)
    with pytest.raises(exceptions.DocumentError, match=r"flow\.json is damaged"):
        read_flow_record(stage)


def _packed(**fields):
    document = msgpack.unpackb(Shard(ATTEMPT, "finished", parameters={"x": 1}).to_bytes())
    document.pop("digest")
    return packed_with_digest(msgpack.packb({**document, **fields}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": 4}, "has format 4"),
        ({"format": None}, "its format is None"),
        ({"status": 1}, "'status' is wrong"),
        ({"notes": "one"}, "'notes' is wrong"),
        ({"parameters": {"x": [1]}}, "'parameters.x"),
        ({"attempt": {**stored(vars(ATTEMPT)), "pid": "7"}}, "'attempt.pid' is wrong"),
        ({"attempt": {**stored(vars(ATTEMPT)), "mood": "good"}}, "'attempt.mood' is wrong"),
        ({"documents": {"manifest": "", "config": b"", "parameters": b""}}, "no bytes"),
        ({"extra": 1}, "'extra' is wrong"),
    ],
)
def test_a_shard_of_another_shape_is_refused_by_field(fields, said):
    with pytest.raises(exceptions.DocumentError) as caught:
        Shard.from_bytes(_packed(**fields))
    assert said in str(caught.value)


def test_a_shard_comes_back_as_it_was():
    shard = Shard(ATTEMPT, "failed", "no", {"x": math.inf, "n": 2**60, "b": False}, ("a", "b"))
    assert Shard.from_bytes(shard.to_bytes()) == shard
    assert Shard.from_bytes(replace(shard, notes=()).to_bytes()).notes == ()


@pytest.mark.usefixtures("server")
def test_all_that_lies_in_a_stage_is_in_the_table():
    seen = set()

    @flow
    def inner():
        note(2)

    @flow
    def night():
        path = LocalStage(str(prefect.runtime.flow_run.id)).path
        current_experiment().log_json("plan", [1])
        note(1)
        inner()
        seen.update(entry.name for entry in path.iterdir())

    flow_run_id = night(return_state=True).state_details.flow_run_id
    seen.update(entry.name for entry in LocalStage(str(flow_run_id)).path.iterdir())
    assert seen >= {"flow.json", "process.json", "shards", "parts", "subflows", "sealed.json"}
    assert [name for name in seen if kind_of(name) is None] == []


def test_the_table_says_of_each_shared_kind_what_it_holds():
    for kind in KINDS.values():
        assert kind.name == kind.name.strip("/")
        assert kind.reach == "host" or kind.schema is not None
