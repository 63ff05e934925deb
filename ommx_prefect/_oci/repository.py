"""One repository of an OCI registry: manifests by reference, blobs by digest, tags.

    with Repository("ghcr.io", "acme/nightly") as repository:
        repository.push_blob(path, digest)
        repository.put_manifest("latest", manifest, MANIFEST_MEDIA_TYPE)

Every operation is idempotent, tried again by `transport`, and raises a RegistryError.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ommx_prefect._oci import blobs
from ommx_prefect._oci.answers import read_at_most
from ommx_prefect._oci.credentials import Credentials, find_credentials
from ommx_prefect._oci.names import (
    MOST_MANIFEST_BYTES,
    check_manifest_size,
    digest_of,
    is_digest,
    is_local_registry,
    is_repository,
    is_tag,
    layers_of,
)
from ommx_prefect._oci.tags import list_tags
from ommx_prefect._oci.transport import Connection
from ommx_prefect.exceptions import LocalNameError, NotInRegistryError, RegistryError

T = TypeVar("T")

ACCEPTED = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
# What `get_blob` takes into memory unless it is told otherwise, and whatever a descriptor states.
MOST_BLOB_BYTES = 256 * 1024 * 1024
MOST_STATED_BYTES = 1024 * 1024 * 1024
DIGEST_HEADER = "Docker-Content-Digest"


class Repository:
    """A repository of a registry; may be used by many threads, and closed when done.

    Attributes:
        registry: `host` or `host:port`; plain HTTP on localhost, 127.* and ::1, else HTTPS.
        repository: The path below it.
    """

    def __init__(
        self,
        registry: str,
        repository: str,
        credentials: Credentials | None = None,
        *,
        brief: bool = False,
    ) -> None:
        """Look credentials up; no connection is made yet.

        Args:
            registry: `host` or `host:port`.
            repository: The path below it.
            credentials: To use instead of what `find_credentials` knows.
            brief: Whether to give up soon, where what is not sent now can be sent later.

        Raises:
            RegistryAuthError: The environment names this registry without a user or password.
            RegistryError: These are no names of a registry and a repository.
            LocalNameError: The name is of this machine's Local Registry alone.
        """
        if not is_repository(repository):
            raise RegistryError(registry, repository[:1000], "this is no name of a repository")
        if is_local_registry(registry):
            raise LocalNameError(registry, repository)
        self.registry, self.repository = registry, repository
        found = credentials or find_credentials(registry)
        self._connection = Connection(registry, repository, found, brief=brief)

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    # ------------------------------------------------------------ manifests

    def get_manifest(self, reference: str) -> bytes:
        """Return the exact bytes of the manifest that a tag or digest names.

        Raises:
            NotInRegistryError: There is none.
            RegistryError: Its bytes have another digest than was asked for or announced.
        """

        def get() -> bytes:
            path, headers = self._path(reference), {"Accept": ACCEPTED}
            with self._connection.stream("GET", path, frozenset({200}), headers=headers) as found:
                data = read_at_most(found, MOST_MANIFEST_BYTES)
                announced = found.headers.get(DIGEST_HEADER, "")
            for digest in filter(is_digest, (reference, announced)):
                blobs.check_digest(self._connection, data, digest)
            return data

        return self._connection.retrying(get)

    def find_manifest(self, reference: str) -> str | None:
        """Return the digest of the manifest that a tag or digest names, or None without one."""
        try:
            return digest_of(self.get_manifest(reference))
        except NotInRegistryError:
            return None

    def put_manifest(self, reference: str, manifest: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest, moving the tag; return its digest.

        Raises:
            ManifestTooLargeError: It has more than 4 MiB; nothing is sent.
            RegistryError: The registry lacks a blob that it lists, or stored something else.
        """
        if len(manifest) > MOST_MANIFEST_BYTES:
            check_manifest_size(manifest, layers_of(manifest))
        digest, headers = digest_of(manifest), {"Content-Type": media_type}

        def put() -> str:
            answer = self._connection.send(
                "PUT",
                self._path(reference),
                frozenset({201, 202}),
                content=manifest,
                headers=headers,
            )
            stored = answer.headers.get(DIGEST_HEADER, digest)
            if stored != digest:
                raise self._connection.error(f"it stored {stored} for the manifest {digest}")
            return digest

        return self._connection.retrying(put)

    def delete_manifest(self, digest: str, *, once: bool = False) -> bool:
        """Delete a manifest and the tags that point to it; one that is gone is no error.

        Args:
            digest: Its `sha256:<hex>`.
            once: Whether not to try again.

        Returns:
            Whether the registry allows it.
        """

        def delete() -> bool:
            path, answers = self._path(digest), frozenset({200, 202, 204, 404, 405})
            return self._connection.send("DELETE", path, answers).status != 405

        return delete() if once else self._connection.retrying(delete)

    def tags(self, prefix: str = "") -> list[str]:
        """Return all tags that start with a prefix, sorted (docker-registry 2.8 does not)."""
        return list_tags(self._connection, prefix)

    def _path(self, reference: str) -> str:
        if not (is_digest(reference) or is_tag(reference)):
            raise self._connection.error(f"{reference[:200]!r} is neither a digest nor a tag")
        return f"manifests/{reference}"

    # ------------------------------------------------------------ blobs

    def has_blob(self, digest: str, size: int | None = None) -> bool:
        """Tell whether the repository has a blob.

        Args:
            digest: Its `sha256:<hex>`.
            size: The bytes that it must have, where they are known.

        Raises:
            RegistryError: It has another size.
        """
        return self._of(digest, lambda: blobs.has_blob(self._connection, digest, size))

    def get_blob(self, digest: str, *, most_bytes: int = MOST_BLOB_BYTES) -> bytes:
        """Return the bytes of a blob.

        Args:
            digest: Its `sha256:<hex>`.
            most_bytes: The size of its descriptor; more is not read, and no more than 1 GiB.

        Raises:
            NotInRegistryError: There is none.
            RegistryError: It is larger than `most_bytes`, or has another digest.
        """
        most = min(most_bytes, MOST_STATED_BYTES)
        return self._of(digest, lambda: blobs.read_blob(self._connection, digest, most))

    def save_blob(self, digest: str, path: Path, size: int | None = None) -> None:
        """Write a blob into a file as it is read; the file is seen whole or not at all.

        Args:
            digest: Its `sha256:<hex>`.
            path: The file.
            size: The size of its descriptor; without it, half of the disk's room is the limit.

        Raises:
            NotInRegistryError: There is none.
            RegistryError: It is larger, or has another digest.
        """
        self._of(digest, lambda: blobs.save_blob(self._connection, digest, path, size))

    def push_blob(self, source: Path | bytes, digest: str, *, ask: bool = True) -> bool:
        """Store a blob; a file is sent as it is read.

        Args:
            source: A file or bytes.
            digest: Their `sha256:<hex>`, which the registry checks.
            ask: Whether to ask first if it is there.

        Returns:
            Whether it was sent; False where it was there already.
        """
        if ask and self.has_blob(digest):
            return False
        self._of(digest, lambda: blobs.upload(self._connection, source, digest))
        return True

    def mount_blob(self, digest: str, from_repository: str) -> bool:
        """Make a blob of another repository of this registry one of this one too.

        Returns:
            Whether that was done; if not (no such blob, no right to it, a registry that cannot),
            it has to be pushed.
        """
        return self._of(digest, lambda: blobs.mount(self._connection, digest, from_repository))

    def _of(self, digest: str, operation: Callable[[], T]) -> T:
        """Call a function of `blobs`; the digest, a part of its address, is checked first."""
        if not is_digest(digest):
            raise self._connection.error(f"{digest[:200]!r} is no digest")
        return self._connection.retrying(operation)
