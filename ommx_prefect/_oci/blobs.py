"""Read and write the blobs of a repository, and mount them from another one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx

from ommx_prefect._oci.answers import Answer, chunks_of, read_at_most
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.transport import Connection, FileBody

FOUND = frozenset({200})


# To docker-registry (2.8) a blob is broken, 500, if it was killed while it noted the blob. Whoever
# sends the blob again mends it.
ABSENT = frozenset({404, 500})


def has_blob(connection: Connection, digest: str, size: int | None) -> bool:
    """Tell whether a blob exists; RegistryError where it has another size."""
    answer = connection.send("HEAD", f"blobs/{digest}", FOUND | ABSENT)
    found = answer.headers.get("Content-Length", "")
    if answer.status == 200 and size is not None and found not in ("", str(size)):
        raise connection.error(f"{digest} has {found} bytes there, not {size}")
    return answer.status == 200


def read_blob(connection: Connection, digest: str, most_bytes: int) -> bytes:
    """Return the bytes of a blob; RegistryError where they are more, or of another digest."""
    with connection.stream("GET", f"blobs/{digest}", FOUND) as response:
        data = read_at_most(response, most_bytes)
    check_digest(connection, data, digest)
    return data


def save_blob(connection: Connection, digest: str, path: Path, size: int | None) -> None:
    """Write a blob into a file that is seen whole or not at all; RegistryError as above."""
    with (
        _scratch(path) as scratch,
        connection.stream("GET", f"blobs/{digest}", FOUND) as response,
        scratch.open("wb") as file,
    ):
        checked = hashlib.sha256()
        for chunk in chunks_of(response, _most_bytes(path, size)):
            checked.update(chunk)
            file.write(chunk)
        if digest != f"sha256:{checked.hexdigest()}":
            raise connection.other_bytes(_other_digest(digest))
        file.close()
        os.replace(scratch, path)


def upload(connection: Connection, source: Path | bytes, digest: str) -> None:
    """Send a blob; a file is sent as it is read."""
    begun = connection.send("POST", "blobs/uploads/", frozenset({202}))
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    body = source if isinstance(source, bytes) else FileBody(source)
    where = upload_address(connection, begun).copy_merge_params({"digest": digest})
    connection.send("PUT", where, frozenset({201}), content=body, headers=headers)


def mount(connection: Connection, digest: str, from_repository: str) -> bool:
    """Make a blob of another repository one of this one too; return whether that was done."""
    where = httpx.QueryParams({"mount": digest, "from": from_repository})
    answer = connection.send("POST", f"blobs/uploads/?{where}", frozenset({201, 202}))
    if answer.status == 202:  # an upload was begun instead
        address = upload_address(connection, answer, of_registry=True)
        connection.send("DELETE", address, frozenset(range(200, 500)))
    return answer.status == 201


def upload_address(
    connection: Connection, answer: Answer, *, of_registry: bool = False
) -> httpx.URL:
    """Return where an upload goes on."""
    given = answer.headers.get("Location")
    if given is None:
        raise connection.error("it does not tell where an upload goes on")
    return connection.address(answer, given, of_registry=of_registry)


def check_digest(connection: Connection, data: bytes, digest: str) -> None:
    """Raise RegistryError where bytes have another digest than was asked for."""
    if digest_of(data) != digest:
        raise connection.other_bytes(_other_digest(digest))


@contextlib.contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


def _most_bytes(path: Path, size: int | None) -> int:
    """Return the most bytes to write: the expected size, or what leaves room on the disk."""
    return shutil.disk_usage(path.parent).free // 2 if size is None else size


def _other_digest(digest: str) -> str:
    return f"what it sent for {digest} has another digest"
