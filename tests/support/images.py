"""Images in a registry: made by hand, and seen from another machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TAKEN_SECONDS = 240
READ = """
import json, sys
from ommx.experiment import Experiment
found = Experiment.load(sys.argv[1])
outputs = [run.get_json("output") for run in found.runs]
note = found.get_json("note") if "note" in found.attachment_names else None
print(json.dumps([found.status, outputs, note]))
"""


class Elsewhere(NamedTuple):
    """What plain ommx reads of an image: its outputs, and what the flow logged as `note`."""

    status: str
    outputs: list[Any]
    note: Any = None


def read_elsewhere(name: str, tmp_path: Path) -> Elsewhere:
    """Open an image with plain ommx in a process whose own Local Registry is empty."""
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / f"other-{uuid.uuid4().hex}")}
    command = [sys.executable, "-c", READ, name]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TAKEN_SECONDS)
    assert answer.returncode == 0, answer.stderr
    return Elsewhere(*json.loads(answer.stdout))


def tags_of(name: str) -> list[str]:
    """List the tags beside this one."""
    host, _, rest = name.partition("/")
    with Repository(host, rest.rpartition(":")[0]) as repository:
        return repository.tags()


def push_image(repository: Repository, tag: str, *blobs: bytes) -> bytes:
    """Push an image of these layers, and return its manifest."""
    config = json.dumps({"tag": tag}).encode()
    for blob in (config, *blobs):
        repository.push_blob(blob, digest_of(blob))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(config),
            "layers": [_descriptor(blob) for blob in blobs],
        }
    ).encode()
    assert repository.put_manifest(tag, manifest, MANIFEST_TYPE) == digest_of(manifest)
    return manifest


def _descriptor(blob: bytes) -> dict[str, object]:
    return {"mediaType": "application/json", "digest": digest_of(blob), "size": len(blob)}
