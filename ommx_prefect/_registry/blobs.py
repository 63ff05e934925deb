"""Find and read blobs of the Local Registry of OMMX, checked by their digests.

Blobs are files `blobs/sha256/<hex>` below the registry's root; names are kept by OMMX (see
`names`).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ommx.artifact import get_local_registry_root

from ommx_prefect._format.decode import check_blob, descriptor_of, manifest_of, parameters_layer
from ommx_prefect._format.model import Documents, hex_of, sha256_digest
from ommx_prefect._registry.files import open_new, open_regular, read_regular, write_whole
from ommx_prefect._registry.layout import blob_folder
from ommx_prefect.exceptions import DocumentError

# How much of a file is held at a time.
PIECE_BYTES = 4 * 2**20
ROOT_VARIABLE = "OMMX_LOCAL_REGISTRY_ROOT"

# OMMX takes the path as it stands: after a change of folder it would be another registry.
if ROOT_VARIABLE in os.environ:
    os.environ[ROOT_VARIABLE] = os.path.abspath(os.environ[ROOT_VARIABLE])


@functools.cache
def registry_root() -> Path:
    """Return the root of the Local Registry; OMMX fixes it once per process."""
    return get_local_registry_root().absolute()


def blob_path(digest: str) -> Path:
    """Return where the Local Registry keeps a blob; DocumentError where the digest is none."""
    return _blobs() / hex_of(digest)


@functools.cache
def _blobs() -> Path:
    return blob_folder(registry_root())


def store_blob(digest: str, data: bytes) -> None:
    """Store a blob durably in the Local Registry, unless it is there already."""
    path = blob_path(digest)
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(data):
            os.utime(path)  # young again: it is kept from `ommx.artifact.gc` while its attempt runs
            return
    write_whole(path, data, durable=True)


def store_file(path: Path) -> tuple[str, int]:
    """Copy a file into the Local Registry, piece by piece; return its digest and size."""
    with path.open("rb") as source:
        return _store(iter(lambda: source.read(PIECE_BYTES), b""))


def store_pieces(pieces: Iterable[bytes | memoryview]) -> tuple[str, int]:
    """Store pieces of memory, one after the other, as one blob; return its digest and size.

    Some of it at a time is copied: its owner may change it meanwhile.
    """
    return _store(
        bytes(piece[first : first + PIECE_BYTES])
        for piece in pieces
        for first in range(0, len(piece), PIECE_BYTES)
    )


def _store(pieces: Iterable[bytes]) -> tuple[str, int]:
    scratch = _blobs() / f".{uuid.uuid4().hex}"
    _blobs().mkdir(parents=True, exist_ok=True)
    try:
        with open_new(scratch) as target:
            digest, size = _written(pieces, target)
        if blob_path(digest).exists():
            os.utime(blob_path(digest))
        else:
            os.replace(scratch, blob_path(digest))
    finally:
        scratch.unlink(missing_ok=True)
    return digest, size


def _written(pieces: Iterable[bytes], target: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += target.write(piece)
    target.flush()
    os.fsync(target.fileno())
    return f"sha256:{digest.hexdigest()}", size


def read_blob(digest: str) -> bytes:
    """Read a blob and check that it is what its digest says.

    Raises:
        DocumentError: It is missing or damaged.
    """
    try:
        return read_checked(blob_path(digest), digest)
    except OSError as error:
        raise DocumentError(f"blob {digest} cannot be read: {error}") from error


def read_checked(path: Path, digest: str) -> bytes:
    """Read a file with a blob.

    Raises:
        DocumentError: It has another digest.
        OSError: It cannot be read.
    """
    data = read_regular(path, owned=False)
    if sha256_digest(data) != digest:
        raise _damaged(digest)
    return data


def checked_pieces(path: Path, digest: str) -> Iterator[bytes]:
    """Yield what stands in a file with a blob, piece by piece; raises what `read_checked` raises.

    Whether it is damaged is known at its end.
    """
    found = hashlib.sha256()
    with open_regular(path, owned=False) as file:
        while piece := file.read(PIECE_BYTES):
            found.update(piece)
            yield piece
    if f"sha256:{found.hexdigest()}" != digest:
        raise _damaged(digest)


def _damaged(digest: str) -> DocumentError:
    return DocumentError(f"blob {digest} is damaged: its bytes have another digest")


def read_documents(digest: str) -> Documents:
    """Read the documents of the Experiment with this manifest digest."""
    manifest = read_blob(digest)
    document = manifest_of(manifest)
    config = read_blob(document["config"]["digest"])
    check_blob(descriptor_of(document["config"]), config)
    return Documents(manifest, config, read_blob(parameters_layer(document).digest))
