"""All that an experiment follows is looked at, and what nights have in common once."""

from __future__ import annotations

import json

import pytest

from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import (
    Attachments,
    ExperimentRecord,
    RunRecord,
    describe,
    sha256_digest,
)
from ommx_prefect._registry.blobs import blob_path, store_blob
from ommx_prefect._sealing import accumulate
from ommx_prefect._sealing.accumulate import _require_whole
from ommx_prefect.exceptions import DocumentError

NIGHTS = 5
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def chain():
    """Return the digests of nights of which each has the payload of those before it."""
    digests, entries = [], {}
    for night in range(NIGHTS):
        data = b"payload of night %d" % night
        store_blob(sha256_digest(data), data)
        entries[f"of-{night}"] = describe("text/plain", data)
        runs = (RunRecord("finished", attachments=Attachments(dict(entries))),)
        documents = encode(ExperimentRecord("finished", runs))
        manifest = json.loads(documents.manifest)
        if digests:
            manifest["subject"] = {"mediaType": MANIFEST, "digest": digests[-1], "size": 1}
        written = json.dumps(manifest).encode()
        for blob in (documents.config, documents.parameters, written):
            store_blob(sha256_digest(blob), blob)
        digests.append(sha256_digest(written))
    return digests


def test_what_nights_have_in_common_is_looked_at_once(chain, monkeypatch):
    asked = []

    def note(digest):
        asked.append(digest)
        return blob_path(digest)

    monkeypatch.setattr(accumulate, "blob_path", note)
    _require_whole(chain[-1])
    assert len(asked) == len(set(asked))
    assert len(asked) > 2 * NIGHTS


def test_a_blob_that_only_an_early_night_has_is_missed(chain):
    config = json.loads(blob_path(chain[0]).read_bytes())["config"]["digest"]
    lost = blob_path(config)
    data = lost.read_bytes()
    lost.unlink()
    with pytest.raises(DocumentError, match=config):
        _require_whole(chain[-1])
    lost.write_bytes(data)
