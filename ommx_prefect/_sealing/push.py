"""How a sealed image gets from the Local Registry to its own registry: blobs first, names last.

OMMX can push too (3.0.0b7). It is not used here because it holds the interpreter's lock for the
whole push and waits without a limit: a registry that accepts the connection and says nothing
stops every thread of the process and Ctrl-C with them. It also does not try again, and a wrong
password, a registry that is down and a missing blob are all the same RuntimeError.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.names import check_manifest_size, split_name
from ommx_prefect._oci.repository import Repository
from ommx_prefect._oci.upload import push_blobs
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect.exceptions import RegistryError

# Anonymous experiments have a name of the Local Registry's, which nobody else can resolve.
LOCAL_SUFFIX = ".ommx.local"


def push_image(
    name: str, digest: str, tags: Sequence[str] = (), credentials: Credentials | None = None
) -> None:
    """Push an image of the Local Registry; what the registry has already is not sent again.

    Args:
        name: Its canonical image name, which says where to.
        digest: Its manifest's digest.
        tags: More tags of the same repository to point to it.
        credentials: To use instead of what this machine knows.

    Raises:
        ManifestTooLargeError: The registry would refuse it; nothing was sent.
        RegistryError: It was not pushed; no name was moved before all blobs were there.
        DocumentError: The Local Registry has lost its manifest.
    """
    where = split_name(name)
    if where.registry.endswith(LOCAL_SUFFIX):
        reason = "an anonymous name belongs to this machine's Local Registry; give experiment="
        raise RegistryError(where.registry, where.repository, reason)
    manifest = read_blob(digest)
    document = json.loads(manifest)
    layers = [layer["digest"] for layer in document["layers"]]
    check_manifest_size(manifest, len(layers))
    with Repository(where.registry, where.repository, credentials) as repository:
        # One blob by itself: a registry that is down or refuses us is found once, not four times.
        config = document["config"]["digest"]
        repository.push_blob(blob_path(config), config)
        push_blobs(repository, {digest: blob_path(digest) for digest in layers})
        for tag in (where.tag, *tags):
            repository.put_manifest(tag, manifest, MANIFEST_MEDIA_TYPE)
