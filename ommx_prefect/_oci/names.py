"""Names in the OCI protocol: addresses, digests, scopes, and the size limit of manifests.

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
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE_NAME = re.compile(
    r"(?P<registry>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,45}\])(?::\d{1,5})?)"
    rf"/(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*):(?P<tag>{_TAG.pattern})"
)
MOST_REPOSITORY_LETTERS = 255
# Registries that answer under another name than the one in image names.
API_HOSTS = {"docker.io": "registry-1.docker.io"}
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::\d+)?")
# A challenge's parameters: `realm="https://...",service="..."`, quoted or not. A name begins where
# no letter stands before it: the search is linear.
_PARAMETER = re.compile(r'(?<!\w)(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
LONGEST_REPOSITORY = 255
LONGEST_CHALLENGE = 8_192


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
    if found is None or len(found["repository"]) > MOST_REPOSITORY_LETTERS:
        raise DocumentError(f"{name[:100]!r} is no image name, registry/repository:tag")
    return ImageName(found["registry"], found["repository"], found["tag"])


def image_name(text: str) -> str:
    """Return a text that is an image name; DocumentError if it is none."""
    split_name(text)
    return text


def image_tag(text: str) -> str:
    """Return a text that is a tag; DocumentError if it is none."""
    if _TAG.fullmatch(text) is None:
        raise DocumentError(f"{text[:100]!r} is no tag of an image name")
    return text


def api_url(registry: str) -> str:
    """Return the address of a registry's API: plain HTTP on this machine only, else HTTPS."""
    scheme = "http" if is_local(registry) else "https"
    return f"{scheme}://{API_HOSTS.get(registry, registry)}/v2/"


def is_local(registry: str) -> bool:
    """Tell a registry on this machine: localhost, 127.*, ::1, as OMMX does."""
    host = _without_port(registry)
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", host) is not None


def is_local_registry(registry: str) -> bool:
    """Tell what OMMX calls this machine's Local Registry in names: nobody else can resolve it."""
    return f".{registry}".endswith(".ommx.local")


def _without_port(registry: str) -> str:
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry if registry.count(":") > 1 else registry.partition(":")[0]


def is_digest(reference: str) -> bool:
    """Tell a digest from a tag."""
    return DIGEST.fullmatch(reference) is not None


def is_repository(path: str) -> bool:
    """Tell what a registry takes for the path of a repository."""
    return len(path) <= LONGEST_REPOSITORY and REPOSITORY.fullmatch(path) is not None


def is_tag(reference: str) -> bool:
    """Tell what a registry takes for a tag."""
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


@dataclass(frozen=True)
class Challenge:
    """What a registry wants of somebody it does not know: its `WWW-Authenticate` header.

    Attributes:
        scheme: `basic` or `bearer`, in small letters.
        realm: Of bearer: the address of the token server.
        service: Of bearer: the registry's name for the token server.
        scope: Of bearer: what the request would have needed; may be empty.
    """

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenge_of(header: str) -> Challenge:
    """Parse a `WWW-Authenticate` header."""
    scheme, _, rest = header[:LONGEST_CHALLENGE].strip().partition(" ")
    found = {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
        for name, quoted, plain in _PARAMETER.findall(rest)
    }
    known = {key: found[key] for key in ("realm", "service", "scope") if key in found}
    return Challenge(scheme.lower(), **known)


def scope_of(method: str, repository: str, mounted_from: str | None = None) -> str:
    """Return the token scope that a request needs where the challenge does not name one."""
    actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(method, "pull,push")
    scope = f"repository:{repository}:{actions}"
    return f"{scope} repository:{mounted_from}:pull" if mounted_from else scope


def is_registry(text: str) -> bool:
    """Tell the host of a registry from the first part of a path, as Docker does."""
    found = _HOST.fullmatch(text)
    return found is not None and (
        text.startswith("[") or "." in text or ":" in text or text == "localhost"
    )
