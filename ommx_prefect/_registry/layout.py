"""Import an Experiment into the Local Registry from an OCI image layout directory.

A layout keeps each blob as `blobs/sha256/<hex>`, and so do the Local Registry and a stage: one
blob can be a link to another's file.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from ommx.experiment import Experiment

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Documents, hex_of, sha256_digest
from ommx_prefect._registry.files import write_whole

BLOBS = "blobs"
LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"


@functools.lru_cache(maxsize=64)
def blob_folder(layout: Path) -> Path:
    """Return the directory of a layout that holds its blobs."""
    return layout / BLOBS / "sha256"


def blob_in(layout: Path, digest: str) -> Path:
    """Return where a layout keeps a blob; DocumentError where the digest is none."""
    return blob_folder(layout) / hex_of(digest)


def import_layout(layout: Path, documents: Documents, name: str) -> Experiment:
    """Import documents, and the payload blobs that lie in an OCI image layout, under a name.

    Args:
        layout: A directory whose `blobs/sha256` holds every payload layer; the documents,
            `index.json` and `oci-layout` are written into it.
        documents: What to import; OMMX verifies every digest on the way in.
        name: The image name to import under.
    """
    for blob in (documents.parameters, documents.config, documents.manifest):
        write_whole(blob_in(layout, sha256_digest(blob)), blob)
    # Not through a link that stands there.
    write_whole(layout / LAYOUT_FILE, b'{"imageLayoutVersion":"1.0.0"}')
    write_whole(layout / INDEX_FILE, json.dumps(_index(documents.manifest, name)).encode())
    return Experiment.import_archive(layout)


def _index(manifest: bytes, name: str) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": MANIFEST_MEDIA_TYPE,
                "digest": sha256_digest(manifest),
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
        ],
    }
