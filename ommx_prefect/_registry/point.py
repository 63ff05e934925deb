"""Point a name to an image of the Local Registry whose OCI subject may be missing.

OMMX (3.0.0b7) restores no name of an image whose OCI subject is missing, or misses a blob. Neither
its pull nor its import of an archive asks for the subject: a night that follows another one in a
container registry can be had without all nights before it. So an archive is made of links.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ommx.artifact import restore_image
from ommx.experiment import Experiment

from ommx_prefect._format.decode import manifest_of
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._registry.blobs import blob_path, read_blob, registry_root
from ommx_prefect._registry.layout import INDEX_FILE, LAYOUT_FILE, blob_in

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
REFERENCE = "org.opencontainers.image.ref.name"
INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"


def point(name: str, digest: str) -> None:
    """Point a name that is free to an image whose blobs are all in the Local Registry.

    Raises:
        RuntimeError: A blob of it is damaged, or missing.
    """
    try:
        restore_image(name, digest, root=registry_root())
    except RuntimeError:
        manifest = manifest_of(read_blob(digest))
        if not manifest.get("subject"):
            raise
        _import(name, digest, manifest)


def _import(name: str, digest: str, manifest: dict[str, Any]) -> None:
    """Have OMMX, which verifies all blobs, import an archive whose blobs are the registry's."""
    with tempfile.TemporaryDirectory(dir=registry_root()) as folder:
        archive = Path(folder)
        layers = [manifest["config"], *manifest["layers"]]
        for each in dict.fromkeys([digest, *(layer["digest"] for layer in layers)]):
            path = blob_in(archive, each)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(blob_path(each), path)
        (archive / LAYOUT_FILE).write_bytes(LAYOUT)
        (archive / INDEX_FILE).write_text(json.dumps(_index(name, digest)))
        Experiment.import_archive(archive)


def _index(name: str, digest: str) -> dict[str, Any]:
    image = {
        "mediaType": MANIFEST_MEDIA_TYPE,
        "digest": digest,
        "size": blob_path(digest).stat().st_size,
        "annotations": {REFERENCE: name},
    }
    return {"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": [image]}
