"""The Run of an attempt's documents is read as `decode` reads it, however alike they are."""

from __future__ import annotations

import dataclasses

import pytest

from ommx_prefect._format import output
from ommx_prefect._format.compose import compose
from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Attachments, Descriptor, ExperimentRecord, RunRecord
from ommx_prefect._format.output import single_run
from ommx_prefect.exceptions import DocumentError, UnknownFormatError


def layer(number, size=10, media_type="application/json", annotations=()):
    return Descriptor(media_type, f"sha256:{number:064x}", size, annotations)


def run_of(*layers, **fields):
    entries = {f"a{number}": each for number, each in enumerate(layers)}
    return RunRecord("finished", attachments=Attachments(entries), **fields)


def documents_of(*runs, **fields):
    return compose(ExperimentRecord("finished", runs, **fields)).documents


def solve(number):
    return {"solve_id": 0, "input": layer(number), "adapter": "a", "status": "finished"}


RUNS = {
    "one output": [run_of(layer(1)), run_of(layer(2, 11)), run_of(layer(3, 10**14))],
    "the digest that stands for others": [run_of(layer(0, 0)), run_of(layer(0))],
    "none": [RunRecord("finished"), RunRecord("failed", "it broke")],
    "several": [run_of(layer(1), layer(2)), run_of(layer(2), layer(1)), run_of(layer(1), layer(1))],
    "annotations": [run_of(layer(1, annotations=(("a", '"layers":[{"annotations":{}'),)))],
    "parameters": [run_of(layer(1), parameters={"x": 1}), run_of(layer(1), parameters={"x": 2})],
    "reasons": [run_of(layer(1)), RunRecord("failed", "a"), RunRecord("failed", "b")],
    "a trace": [run_of(layer(1), trace=layer(1)), run_of(layer(1), trace=layer(2))],
    "a trace alone": [RunRecord("finished", trace=layer(x)) for x in (1, 2)],
    "solves": [run_of(solves=(solve(1),)), run_of(layer(1), solves=(solve(1),))],
    "media types": [run_of(layer(1, media_type=x)) for x in ("a/b", 'a"b', "a\\b", "ä/b")],
}  # fmt: skip


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_is_read_as_decode_reads_it(kind):
    for _ in range(2):
        for run in RUNS[kind]:
            documents = documents_of(run)
            assert single_run(documents) == decode(documents).runs[0] == run


def test_what_attempts_leave_alike_is_decoded_once(monkeypatch):
    output._run_of_kind.cache_clear()
    decoded = []
    monkeypatch.setattr(output, "decode", lambda x: decoded.append(x) or decode(x))
    for number in range(20):
        assert single_run(documents_of(run_of(layer(number, number)))) == run_of(
            layer(number, number)
        )
    assert len(decoded) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda x: dataclasses.replace(x, config=x.config + b" "),
        lambda x: dataclasses.replace(x, parameters=x.parameters + b"\xc0"),
        lambda x: dataclasses.replace(x, manifest=x.manifest[:-1]),
        lambda x: dataclasses.replace(x, manifest=x.manifest.replace(b'"size":10', b'"size":010')),
        lambda x: dataclasses.replace(x, manifest=x.manifest.replace(b'"size":10', b'"size":-1')),
        lambda x: dataclasses.replace(x, manifest=x.manifest.replace(b"sha256:0", b"sha256:G")),
        lambda x: dataclasses.replace(x, manifest=x.manifest.replace(b"sha256:0", b"sha256:")),
        lambda x: dataclasses.replace(
            x, manifest=x.manifest.replace(b'"layers"', b'"layers":[],"layers"')
        ),
        lambda x: dataclasses.replace(x, manifest=x.manifest.replace(b"{", b'{"more":1,', 1)),
    ],
)
def test_what_is_damaged_is_refused_as_ever(change):
    good = documents_of(run_of(layer(1)))
    single_run(good)
    damaged = change(good)
    assert damaged != good
    for _ in range(2):
        with pytest.raises((DocumentError, UnknownFormatError)) as found:
            single_run(damaged)
        with pytest.raises(type(found.value)) as wanted:
            decode(damaged)
        assert str(found.value) == str(wanted.value)


def test_several_runs_are_not_one():
    with pytest.raises(DocumentError, match="2 Runs instead of one"):
        single_run(documents_of(run_of(layer(1)), run_of(layer(2))))
