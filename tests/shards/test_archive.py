"""Whether an Experiment names other payload than what is in its record can be told unparsed."""

from __future__ import annotations

import pytest

from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
    describe,
    sha256_digest,
)
from ommx_prefect._shards.archive import names_only

A, B = describe("application/json", b"1"), describe("application/json", b"2")
TRAP = Descriptor("a/b", A.digest, 1, (("k", '"digest":"sha256:' + B.digest[7:]),))
KEY = Descriptor("a/b", A.digest, 1, (("digest", B.digest),))


def documents(*layers: Descriptor) -> Documents:
    """Return an Experiment of one Run with these layers."""
    attachments = Attachments({str(i): layer for i, layer in enumerate(layers)})
    return encode(ExperimentRecord("finished", (RunRecord("finished", attachments=attachments),)))


@pytest.mark.parametrize(
    ("layers", "known", "told"),
    [
        ((A,), (A,), True),
        ((A, B), (A, B), True),
        ((A, B), (A,), False),
        ((A,), (), False),
        ((A,), (B,), False),
        ((TRAP,), (A,), True),
        ((TRAP, B), (A,), False),
        ((KEY, B), (A, B), False),  # it cannot be told without parsing
        ((A, Descriptor("other/type", A.digest, 1)), (A,), False),
    ],
)
def test_that_payload_is_all_inside_is_told_only_where_it_is(
    layers: tuple[Descriptor, ...], known: tuple[Descriptor, ...], told: bool
) -> None:
    assert names_only(documents(*layers), {layer.digest for layer in known}) is told


def test_no_payload_of_an_experiment_with_a_subject_is_overlooked() -> None:
    subject = describe("application/vnd.oci.image.manifest.v1+json", b"{}")
    run = RunRecord("finished", attachments=Attachments({"a": A}))
    written = encode(ExperimentRecord("finished", (run,), subject=subject))
    assert not names_only(written, {sha256_digest(b"2")})
