"""Seal an experiment that refers to another one by the OCI `subject` of its manifest."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ommx.artifact import remove_image
from ommx.experiment import Experiment

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Documents, sha256_digest
from ommx_prefect._registry.blobs import blob_path, read_blob, read_documents, registry_root
from ommx_prefect._registry.intake import import_layout
from ommx_prefect._registry.layout import blob_in
from ommx_prefect._registry.names import find


def seal_about(experiment: Experiment, name: str, subject: str) -> Experiment:
    """Seal an experiment under a name, with another one as its OCI subject.

    `Experiment.fork` (OMMX 3.0.0b7) does this too, and repeats every Run of the other one.

    Args:
        experiment: An anonymous experiment that is not sealed yet.
        name: The image name to give it.
        subject: Digest of the manifest of the experiment it is about, in the Local Registry.
    """
    experiment.commit()
    scratch = experiment.image_name
    digest = find(scratch)
    if digest is None:
        raise RuntimeError(f"{scratch} was sealed, and is not there")
    documents = read_documents(digest)
    manifest = json.loads(documents.manifest)
    manifest["subject"] = _descriptor(subject)
    data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    # In the registry's own folder, so that payload is linked and not copied.
    with tempfile.TemporaryDirectory(dir=registry_root()) as folder:
        for layer in manifest["layers"]:
            _link(layer["digest"], Path(folder))
        sealed = import_layout(
            Path(folder), Documents(data, documents.config, documents.parameters), name
        )
    remove_image(scratch, root=registry_root())
    return sealed


def _descriptor(digest: str) -> dict[str, object]:
    data = read_blob(digest)
    return {
        "mediaType": MANIFEST_MEDIA_TYPE,
        "digest": sha256_digest(data),
        "size": len(data),
    }


def _link(digest: str, layout: Path) -> None:
    path = blob_in(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.link(blob_path(digest), path)
