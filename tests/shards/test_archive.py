"""An archive holds a record with its payload; what payload that is can be told unparsed."""

from __future__ import annotations

import os
import tracemalloc

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
from ommx_prefect._registry.blobs import checked_pieces
from ommx_prefect._shards.archive import names_only, open_archive, pack_archive
from ommx_prefect._shards.shard import Shard
from ommx_prefect.exceptions import DocumentError
from ommx_prefect.testing._scene import attempt_of, new_id

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


def test_large_payload_is_held_once_while_it_is_packed(tmp_path) -> None:
    """A block of Prefect takes bytes: they are the one copy."""
    path, flow_run_id = tmp_path / "payload", new_id()
    path.write_bytes(os.urandom(2**20) * 40)
    content = path.read_bytes()
    layer = describe("application/octet-stream", content)
    attempt = attempt_of(flow_run_id)
    shard = Shard(attempt, "finished", documents=documents(layer, A))
    parts = {layer.digest: path, A.digest: tmp_path / "small"}
    parts[A.digest].write_bytes(b"1")
    tracemalloc.start()
    archive = pack_archive(shard, lambda digest: checked_pieces(parts[digest], digest))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * len(content)
    opened, payload = open_archive(archive, flow_run_id, attempt.key)
    assert opened.attempt == attempt
    assert payload == {layer.digest[7:]: content, A.digest[7:]: b"1"}
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(DocumentError, match="is damaged: its bytes have another digest"):
        pack_archive(shard, lambda digest: checked_pieces(parts[digest], digest))
