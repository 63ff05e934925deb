"""Experiments are split into parts whose manifests are small enough, and joined again."""

from __future__ import annotations

import json

import pytest

from ommx_prefect._format.compose import compose
from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    ExperimentRecord,
    RunRecord,
    describe,
)
from ommx_prefect._format.parts import MEDIA_TYPE, NAME, PartPlace, index_of, join, places_of, split
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

MOST_BYTES = 3_000


def layer(number):
    return Descriptor("application/json", f"sha256:{number:064x}", 10)


def run_of(*layers, **parameters):
    entries = {f"a{number}": layer(x) for number, x in enumerate(layers)}
    return RunRecord("finished", attachments=Attachments(entries), parameters=parameters)


def experiment_of(*runs):
    return ExperimentRecord(
        "failed",
        runs,
        attachments=Attachments({"note": layer(10**6)}, {"note": "note.json"}),
        annotations={"a": "b"},
        reason="no",
        subject=Descriptor("application/vnd.oci.image.manifest.v1+json", layer(7).digest, 5),
    )


def in_parts(experiment):
    """The whole, its parts, its index, and the document that names them."""
    whole = compose(experiment)
    pieces = split(whole.experiment, whole.columns, "flow-run", MOST_BYTES)
    places = [
        PartPlace(f"part-{number}", x.documents.digest, 1, x.experiment.first_run_id,
                  len(x.experiment.runs))
        for number, x in enumerate(pieces)
    ]  # fmt: skip
    index, document = index_of(whole.experiment, places)
    return whole, pieces, index, document


def test_what_is_split_is_joined_to_the_same():
    # A column of ints and floats is one of floats, in parts as in the whole; one of texts is split.
    runs = [run_of(number, x=number if number % 3 else 0.5, y="a") for number in range(40)]
    runs[30] = run_of(30, x=True, z=1)
    whole, pieces, index, document = in_parts(experiment_of(*runs))
    assert len(pieces) > 2
    assert all(len(x.documents.manifest) <= MOST_BYTES for x in pieces)
    read = decode(index.documents)
    assert read.runs == ()
    places = places_of(read, lambda _: document)
    joined = join(read, places, [decode(x.documents) for x in pieces])
    assert joined == decode(whole.documents)
    assert compose(joined).documents.config == whole.documents.config
    assert compose(joined).documents.parameters == whole.documents.parameters


def test_a_run_is_never_split_and_what_runs_share_counts_once():
    shared = [run_of(1, 2, i=number) for number in range(500)]
    _, pieces, _, _ = in_parts(experiment_of(*shared))
    assert len(pieces) == 1
    large = run_of(*range(100, 140))
    _, pieces, _, _ = in_parts(experiment_of(run_of(1), large, run_of(2)))
    assert [len(x.experiment.runs) for x in pieces] == [1, 1, 1]
    assert len(pieces[1].documents.manifest) > MOST_BYTES


def test_an_index_that_is_not_right_is_refused():
    runs = [run_of(number, i=number) for number in range(40)]
    _, pieces, index, document = in_parts(experiment_of(*runs))
    read, said = decode(index.documents), json.loads(document)

    def places(**changed):
        data = json.dumps({**said, **changed}).encode()
        entries = {**read.attachments.entries, NAME: describe(MEDIA_TYPE, data)}
        changed_index = ExperimentRecord(
            "failed", (), Attachments(entries), annotations=read.annotations
        )
        return places_of(changed_index, lambda _: data)

    assert len(places()) == len(pieces)
    with pytest.raises(UnknownFormatError, match="upgrade"):
        places(format=2)
    with pytest.raises(DocumentError, match="instead of 41"):
        places(runs=41)
    with pytest.raises(DocumentError, match="does not begin with Run 0"):
        places(parts=said["parts"][1:])
    with pytest.raises(DocumentError, match="tag"):
        places(parts=[{**said["parts"][0], "tag": "../../etc"}])
    with pytest.raises(UnknownFormatError, match="unknown key"):
        places(more=1)
    with pytest.raises(DocumentError):
        places_of(read, lambda _: document + b" ")
