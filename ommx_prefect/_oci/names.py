"""Names in the OCI protocol: image names, addresses, digests, and the size limit of manifests.

Pure: nothing here touches the network. The rules are those of the OCI distribution spec 1.1
(https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from ommx_prefect.exceptions import DocumentError, ManifestTooLargeError

# The limit of distribution/distribution (`maxManifestBodySize`), which most registries share.
MOST_MANIFEST_BYTES = 4 * 1024 * 1024
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
LONGEST_REPOSITORY = 255
_IMAGE_NAME = re.compile(
    r"(?P<registry>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,45}\])(?::\d{1,5})?)"
    rf"/(?P<repository>{REPOSITORY.pattern}):(?P<tag>{TAG.pattern})"
)
# Registries that answer under another name than the one in image names.
API_HOSTS = {"docker.io": "registry-1.docker.io"}
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?")


@dataclass(frozen=True)
class ImageName:
    """An image name in its parts.

    Attributes:
        registry: `host` or `host:port`.
        repository: The path below it.
        tag: The tag.
    """

    registry: str
    repository: str
    tag: str


def split_name(name: str) -> ImageName:
    """Split a canonical image name, `registry/repository:tag`, as OMMX writes it.

    The one place that takes an image name apart, of which URLs are made then.

    Raises:
        DocumentError: It is none.
    """
    found = _IMAGE_NAME.fullmatch(name)
    if found is None or len(found["repository"]) > LONGEST_REPOSITORY:
        raise DocumentError(f"{name[:100]!r} is no image name, registry/repository:tag")
    return ImageName(found["registry"], found["repository"], found["tag"])


def image_name(text: str) -> str:
    """Return a text that is an image name; DocumentError if it is none."""
    split_name(text)
    return text


def image_tag(text: str) -> str:
    """Return a text that is a tag; DocumentError if it is none."""
    if not is_tag(text):
        raise DocumentError(f"{text[:100]!r} is no tag of an image name")
    return text


def api_url(registry: str) -> str:
    """Return the address of a registry's API: plain HTTP on this machine only, else HTTPS."""
    scheme = "http" if is_local(registry) else "https"
    return f"{scheme}://{API_HOSTS.get(registry, registry)}/v2/"


def is_local(registry: str) -> bool:
    """Tell whether a registry is on this machine: localhost, 127.*, ::1, as for OMMX."""
    host = _without_port(registry)
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


def is_local_registry(registry: str) -> bool:
    """Tell whether a registry is OMMX's name for this machine's Local Registry."""
    return f".{registry}".endswith(".ommx.local")


def _without_port(registry: str) -> str:
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry if registry.count(":") > 1 else registry.partition(":")[0]


def is_digest(reference: str) -> bool:
    """Tell whether a reference is a digest, and not a tag."""
    return DIGEST.fullmatch(reference) is not None


def is_repository(path: str) -> bool:
    """Tell whether a text is the path of a repository, as registries accept it."""
    return len(path) <= LONGEST_REPOSITORY and REPOSITORY.fullmatch(path) is not None


def is_tag(reference: str) -> bool:
    """Tell whether a text is a tag, as registries accept it."""
    return TAG.fullmatch(reference) is not None


def digest_of(data: bytes) -> str:
    """Return `sha256:<hex>` of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layers_of(manifest: bytes) -> int:
    """Count the layers of a manifest; 0 where it has none."""
    return len(json.loads(manifest).get("layers") or ())


def check_manifest_size(manifest: bytes, layers: int) -> None:
    """Refuse a manifest that a registry would refuse, before anything is pushed.

    Args:
        manifest: Its bytes, as they would be sent.
        layers: How many layers it lists, for the message.

    Raises:
        ManifestTooLargeError: It has more than 4 MiB.
    """
    if len(manifest) > MOST_MANIFEST_BYTES:
        raise ManifestTooLargeError(len(manifest), layers, MOST_MANIFEST_BYTES)


def is_registry(text: str) -> bool:
    """Tell whether the first part of a name is a registry, and not of a path, as Docker does."""
    found = _HOST.fullmatch(text)
    return found is not None and (
        text.startswith("[") or "." in text or ":" in text or text == "localhost"
    )
