"""One repository of an OCI registry: manifests by reference, blobs by digest, tags.

    with Repository("ghcr.io", "acme/nightly") as repository:
        repository.push_blob(path, digest)
        repository.put_manifest("latest", manifest, MANIFEST_MEDIA_TYPE)

Every operation is idempotent, tried again by `_oci_http`, and raises a RegistryError.
"""

from __future__ import annotations

import functools
import hashlib
import os
import uuid
from pathlib import Path

import httpx

from ommx_prefect._oci.credentials import Credentials, find_credentials
from ommx_prefect._oci.names import (
    MOST_MANIFEST_BYTES,
    check_manifest_size,
    digest_of,
    is_digest,
    layers_of,
)
from ommx_prefect._oci.transport import CHUNK_BYTES, Connection, FileBody
from ommx_prefect.exceptions import NotInRegistryError

ACCEPTED = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
# What `get_blob` takes into memory unless it is told otherwise.
MOST_BLOB_BYTES = 256 * 1024 * 1024
TAGS_PER_PAGE = 1000
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
        """Connect nothing yet, but look credentials up.

        Args:
            registry: `host` or `host:port`.
            repository: The path below it.
            credentials: To use instead of what `find_credentials` knows.
            brief: Whether to give up soon, where what is not sent now can be sent later.

        Raises:
            RegistryAuthError: The environment names this registry without a user or password.
        """
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
            path, headers = f"manifests/{reference}", {"Accept": ACCEPTED}
            with self._connection.stream("GET", path, frozenset({200}), headers=headers) as found:
                data = self._read(found, MOST_MANIFEST_BYTES)
                announced = found.headers.get(DIGEST_HEADER, "")
            for digest in filter(is_digest, (reference, announced)):
                self._check_digest(data, digest)
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
            path = f"manifests/{reference}"
            answer = self._connection.send(
                "PUT", path, frozenset({201, 202}), content=manifest, headers=headers
            )
            stored = answer.headers.get(DIGEST_HEADER, digest)
            if stored != digest:
                raise self._connection.error(f"it stored {stored} for the manifest {digest}")
            return digest

        return self._connection.retrying(put)

    def delete_manifest(self, digest: str) -> bool:
        """Delete a manifest and the tags that point to it; one that is gone is no error.

        Returns:
            Whether the registry allows it.
        """
        return self._delete(digest, refusals=frozenset({405}))

    def delete_tag(self, tag: str) -> bool:
        """Delete a tag and leave the manifest; one that is gone is no error.

        Returns:
            Whether the registry allows it. docker-registry 2.8 does not (it answers 400): there,
            `delete_manifest`.
        """
        return self._delete(tag, refusals=frozenset({400, 405}))

    def _delete(self, reference: str, refusals: frozenset[int]) -> bool:
        def delete() -> bool:
            allowed = frozenset({200, 202, 204, 404}) | refusals
            answer = self._connection.send("DELETE", f"manifests/{reference}", allowed)
            return answer.status_code not in refusals

        return self._connection.retrying(delete)

    def tags(self, prefix: str = "") -> list[str]:
        """Return all tags that start with a prefix, sorted (docker-registry 2.8 does not)."""
        found: list[str] = []
        page: httpx.URL | str | None = f"tags/list?n={TAGS_PER_PAGE}"
        while page:
            tags, page = self._tag_page(page)
            found += [tag for tag in tags if tag.startswith(prefix)]
        return sorted(found)

    def _tag_page(self, page: httpx.URL | str) -> tuple[list[str], httpx.URL | None]:
        """Return the tags of a page, and the address of the next one."""
        get = functools.partial(self._connection.send, "GET", page, frozenset({200, 404}))
        answer = self._connection.retrying(get)
        if answer.status_code == 404:  # nothing was ever pushed to it
            return [], None
        try:
            tags = [str(tag) for tag in answer.json()["tags"] or ()]
        except (ValueError, KeyError, TypeError):
            raise self._connection.error("its list of tags makes no sense") from None
        link = answer.links.get("next")
        return tags, answer.url.join(link["url"]) if link else None

    # ------------------------------------------------------------ blobs

    def has_blob(self, digest: str, size: int | None = None) -> bool:
        """Tell whether the repository has a blob.

        Args:
            digest: Its `sha256:<hex>`.
            size: The bytes that it must have, where they are known.

        Raises:
            RegistryError: It has another size.
        """

        def head() -> bool:
            answer = self._connection.send("HEAD", f"blobs/{digest}", frozenset({200, 404}))
            found = answer.headers.get("Content-Length", size)
            if answer.status_code == 200 and size is not None and int(found) != size:
                raise self._connection.error(f"{digest} has {found} bytes there, not {size}")
            return answer.status_code == 200

        return self._connection.retrying(head)

    def get_blob(self, digest: str, *, most_bytes: int = MOST_BLOB_BYTES) -> bytes:
        """Return the bytes of a blob.

        Args:
            digest: Its `sha256:<hex>`.
            most_bytes: The size of its descriptor; more is not read.

        Raises:
            NotInRegistryError: There is none.
            RegistryError: It is larger than `most_bytes`, or has another digest.
        """

        def get() -> bytes:
            with self._connection.stream("GET", f"blobs/{digest}", frozenset({200})) as found:
                return self._check_digest(self._read(found, most_bytes), digest)

        return self._connection.retrying(get)

    def save_blob(self, digest: str, path: Path) -> None:
        """Write a blob into a file as it is read; the file is seen whole or not at all.

        Raises:
            NotInRegistryError: There is none.
            RegistryError: It has another digest.
        """
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")

        def get() -> None:
            checked = hashlib.sha256()
            with (
                self._connection.stream("GET", f"blobs/{digest}", frozenset({200})) as found,
                scratch.open("wb") as file,
            ):
                for chunk in found.iter_bytes(CHUNK_BYTES):
                    checked.update(chunk)
                    file.write(chunk)
            if digest != f"sha256:{checked.hexdigest()}":
                raise self._connection.error(f"what it sent for {digest} has another digest")
            os.replace(scratch, path)

        try:
            self._connection.retrying(get)
        finally:
            scratch.unlink(missing_ok=True)

    def push_blob(self, source: Path | bytes, digest: str) -> bool:
        """Store a blob; a file is sent as it is read.

        Args:
            source: A file or bytes.
            digest: Their `sha256:<hex>`, which the registry checks.

        Returns:
            Whether it was sent; False where it was there already.
        """
        if self.has_blob(digest):
            return False
        self._connection.retrying(lambda: self._upload(source, digest))
        return True

    def _upload(self, source: Path | bytes, digest: str) -> None:
        begun = self._connection.send("POST", "blobs/uploads/", frozenset({202}))
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        body = source if isinstance(source, bytes) else FileBody(source)
        where = self._location(begun).copy_merge_params({"digest": digest})
        self._connection.send("PUT", where, frozenset({201}), content=body, headers=headers)

    def mount_blob(self, digest: str, from_repository: str) -> bool:
        """Make a blob of another repository of this registry one of this one too.

        Returns:
            Whether that was done; if not (no such blob, no right to it, a registry that cannot),
            it has to be pushed.
        """

        def mount() -> bool:
            where = httpx.QueryParams({"mount": digest, "from": from_repository})
            path = f"blobs/uploads/?{where}"
            answer = self._connection.send("POST", path, frozenset({201, 202}))
            if answer.status_code == 202:  # an upload was begun instead
                anything = frozenset(range(200, 500))
                self._connection.send("DELETE", self._location(answer), anything)
            return answer.status_code == 201

        return self._connection.retrying(mount)

    def _location(self, answer: httpx.Response) -> httpx.URL:
        if "Location" not in answer.headers:
            raise self._connection.error("it does not tell where an upload goes on")
        return answer.url.join(answer.headers["Location"])

    def _read(self, response: httpx.Response, most_bytes: int) -> bytes:
        data = bytearray()
        for chunk in response.iter_bytes(CHUNK_BYTES):
            data += chunk
            if len(data) > most_bytes:
                raise self._connection.error(f"its answer has more than {most_bytes:,} bytes")
        return bytes(data)

    def _check_digest(self, data: bytes, digest: str) -> bytes:
        if digest_of(data) != digest:
            raise self._connection.error(f"what it sent for {digest} has another digest")
        return data
