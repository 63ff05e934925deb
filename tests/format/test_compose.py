"""Composing: pure functions over bytes; unknown is refused by name, nothing is lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ommx.artifact import list_artifacts
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect._format.compose import compose, difference, settle_columns
from ommx_prefect._format.decode import decode
from ommx_prefect._format.encode import encode
from ommx_prefect._format.merge import SUFFIX, merged
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
)
from ommx_prefect._registry import blobs as registry
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

NAME = "ghcr.io/acme/composed:byte-identity"


def _real_documents() -> Documents:
    import ommx

    x = [ommx.DecisionVariable.binary(i) for i in range(2)]
    instance = ommx.Instance.from_components(
        decision_variables=x, objective=x[0] + x[1], constraints={}, sense=ommx.Sense.Maximize
    )
    experiment = Experiment(NAME, store_trace=True)
    experiment.set_annotation("com.acme.a", "é")
    experiment.log_json("shared", {"a": 1})
    with experiment.run() as run:
        run.log_parameter("i", 1)
        run.log_parameter("t", "text")
        run.log_json("z", [1], compression="zstd")
        run.log_file("f", __file__)
        run.log_solve(OMMXHighsAdapter, instance, store_diagnostics=True, verbose=False)
    with contextlib.suppress(ValueError), experiment.run() as run:
        run.log_parameter("i", 2.5)
        raise ValueError("no")
    experiment.commit()
    digest = next(ref.manifest_digest for ref in list_artifacts(NAME))
    return registry.read_documents(digest)


@pytest.fixture(scope="module")
def documents() -> Documents:
    return _real_documents()


def test_what_ommx_wrote_is_written_back_byte_for_byte(documents):
    assert encode(decode(documents)) == documents


@pytest.mark.parametrize("part", ["manifest", "config", "parameters"])
def test_bytes_that_are_not_what_their_digest_says_are_refused(documents, part):
    changed = {**vars(documents), part: getattr(documents, part) + b" "}
    if part == "manifest":
        changed["manifest"] = documents.manifest.replace(b'"size":', b'"size":1', 1)
    with pytest.raises(DocumentError):
        decode(Documents(**changed))


def _with_config(documents: Documents, change) -> Documents:
    config = json.loads(documents.config)
    change(config)
    record = decode(documents)
    data = json.dumps(config).encode()
    manifest = json.loads(encode(record).manifest)
    manifest["config"] |= {"digest": registry.sha256_digest(data), "size": len(data)}
    return Documents(json.dumps(manifest).encode(), data, documents.parameters)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c.update(future=1), "future"),
        (lambda c: c["runs"][0].update(novel=[]), "novel"),
        (lambda c: c["runs"][0].update(status="paused"), "paused"),
        (lambda c: c["runs"][0]["solves"][0].update(seed=1), "seed"),
        (lambda c: c["runs"][0]["attachments"].update(sizes={}), "sizes"),
    ],
)
def test_what_this_release_does_not_know_is_refused_by_name(documents, change, named):
    with pytest.raises(UnknownFormatError, match=named):
        decode(_with_config(documents, change))


def test_an_unknown_column_type_is_refused_by_name():
    run = RunRecord("finished", parameters={"x": 1})
    good = encode(ExperimentRecord("finished", (run,)))
    table = msgpack.unpackb(good.parameters, strict_map_key=False)
    table["columns"]["x"]["type"] = "decimal"
    data = msgpack.packb(table)
    manifest = json.loads(good.manifest)
    manifest["layers"][-1] |= {"digest": registry.sha256_digest(data), "size": len(data)}
    with pytest.raises(UnknownFormatError, match="decimal"):
        decode(Documents(json.dumps(manifest).encode(), good.config, data))


scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
)
descriptors = st.builds(
    Descriptor,
    st.just("application/json"),
    st.sampled_from([f"sha256:{c * 64}" for c in "abc"]),
    st.just(3),
)
runs = st.lists(
    st.builds(
        RunRecord,
        status=st.sampled_from(["finished", "failed", "interrupted"]),
        parameters=st.dictionaries(st.sampled_from(["a", "b", "a:string"]), scalars, max_size=3),
        attachments=st.builds(
            Attachments, st.dictionaries(st.sampled_from("xyz"), descriptors, max_size=3)
        ),
    ),
    max_size=6,
).map(tuple)


@pytest.mark.server
@given(runs)
def test_no_value_is_lost_and_each_column_has_one_type(records):
    columns, split = settle_columns(
        {
            name: {
                i: run.parameters[name] for i, run in enumerate(records) if name in run.parameters
            }
            for name in {name for run in records for name in run.parameters}
        }
    )
    for cells in columns.values():
        assert len({type(value) for value in cells.values()}) == 1
    for i, run in enumerate(records):
        for name, value in run.parameters.items():
            own = [name, *(c for c, n in split.items() if n == name)]
            assert value in [columns[c][i] for c in own if i in columns[c]]


@pytest.mark.server
@given(runs)
def test_composing_keeps_every_run_and_stores_identical_layers_once(records):
    documents = compose(ExperimentRecord("finished", records)).documents
    layers = json.loads(documents.manifest)["layers"]
    assert len({layer["digest"] for layer in layers}) == len(layers)
    again = decode(documents)
    assert [(r.status, r.attachments.entries) for r in again.runs] == [
        (r.status, r.attachments.entries) for r in records
    ]
    assert compose(ExperimentRecord("finished", records)).documents == documents


@pytest.mark.server
@given(runs)
def test_what_was_composed_differs_in_nothing_from_what_it_was_made_of(records):
    experiment = ExperimentRecord("finished", tuple(records))
    assert difference(compose(experiment).documents, experiment) == ""


LAYER = Descriptor("application/json", f"sha256:{'1' * 64}", 1)
FIRST = RunRecord("finished", attachments=Attachments({"a": LAYER}), parameters={"x": 1})
CHANGED = {
    "its status": {"status": "failed"},
    "its annotations": {"annotations": {"a": "b"}},
    "its attachments": {"attachments": Attachments({"b": LAYER})},
    "2 Runs instead of 1": {"runs": (FIRST,)},
    "Run 0": {"runs": (dataclasses.replace(FIRST, status="failed"), FIRST)},
    "Run 1": {"runs": (FIRST, dataclasses.replace(FIRST, attachments=Attachments()))},
    "a parameter": {"runs": (FIRST, dataclasses.replace(FIRST, parameters={"x": True}))},
}


@pytest.mark.parametrize("said", CHANGED)
def test_the_difference_of_documents_from_their_records_is_named(said):
    wanted = ExperimentRecord("finished", (FIRST, FIRST))
    documents = compose(wanted).documents
    assert difference(documents, dataclasses.replace(wanted, **CHANGED[said])) == said


def test_shards_survive_their_bytes_and_damaged_ones_are_refused(documents):
    attempt = Attempt("o", "f", 1, "t", "task", "task-0", 1, "n", 1.5, "h", 7)
    shard = Shard(attempt, "failed", "why", {"a": 1}, ("note",), documents)
    assert Shard.from_bytes(shard.to_bytes()) == shard
    for damaged in (b"", b"broken", shard.to_bytes()[:-5], msgpack.packb({"format": 1})):
        with pytest.raises(DocumentError):
            Shard.from_bytes(damaged)
    with pytest.raises(UnknownFormatError):
        Shard.from_bytes(msgpack.packb({"format": 4}))


names = st.sampled_from(["a", "b", f"a{SUFFIX}"])
halves = st.builds(
    RunRecord,
    status=st.just("finished"),
    parameters=st.dictionaries(names, scalars, max_size=3),
    attachments=st.builds(Attachments, st.dictionaries(names, descriptors, max_size=3)),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(halves, halves)
def test_merging_keeps_every_value_and_the_run_s_own_keep_their_names(own, kept):
    found = merged(own, kept)
    for mine, theirs, both in (
        (own.parameters, kept.parameters, found.parameters),
        (own.attachments.entries, kept.attachments.entries, found.attachments.entries),
    ):
        assert {name: both[name] for name in mine} == dict(mine)
        for name, value in theirs.items():
            held = [both[n] for n in both if n.removesuffix(SUFFIX) == name.removesuffix(SUFFIX)]
            # Several suffixes may have been added; what counts is that the value is there.
            everything = held + [both[n] for n in both if n.startswith(name)]
            assert any(type(x) is type(value) and x == value for x in everything)
