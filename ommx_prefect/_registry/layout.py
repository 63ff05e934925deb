"""Name the parts of an OCI image layout directory, and find blobs in one.

A layout keeps each blob as `blobs/sha256/<hex>`, and so do the Local Registry and a stage: one
blob can be a link to another's file.
"""

from __future__ import annotations

import functools
from pathlib import Path

from ommx_prefect._format.model import hex_of

BLOBS = "blobs"
# Releases that had OMMX import the folder of a stage wrote these two into it.
LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"


@functools.lru_cache(maxsize=64)
def blob_folder(layout: Path) -> Path:
    """Return the directory of a layout that holds its blobs."""
    return layout / BLOBS / "sha256"


def blob_in(layout: Path, digest: str) -> Path:
    """Return where a layout keeps a blob; DocumentError where the digest is none."""
    return blob_folder(layout) / hex_of(digest)
