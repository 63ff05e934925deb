"""Import an Experiment from an image layout: payload checked, flushed together, and linked.

OMMX's own import writes, flushes and locks once for each blob. Here the file of the layout becomes
that of the registry. Its bytes are hashed before it bears its digest there, and flushed before its
name can be seen: what lies in a registry under a digest is believed by all who share it. OMMX reads
and verifies all of it once more before the image has its name.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from io import FileIO
from pathlib import Path

from ommx.experiment import Experiment

from ommx_prefect._format.model import Documents, hex_of, sha256_digest
from ommx_prefect._registry.blobs import PIECE_BYTES, registry_root, store_blob
from ommx_prefect._registry.files import flush_folder, open_regular, write_durable
from ommx_prefect._registry.layout import blob_folder
from ommx_prefect._registry.point import point

# So many files are flushed one by one; more of them with all else that waits for the disk.
FEW = 32
# What OMMX gives a blob, as far as the umask allows, which the registry's folder tells.
MODE = 0o666


def import_layout(layout: Path, documents: Documents, name: str) -> Experiment:
    """Import documents, and the payload blobs that lie in an OCI image layout, under a name.

    Args:
        layout: A directory whose `blobs/sha256` holds every payload layer.
        documents: What to import.
        name: The image name to import under; it must be free.

    Raises:
        RuntimeError: OMMX cannot read it, or a digest is wrong; the name is not there then.
        FileNotFoundError: The layout lacks a payload.
    """
    blobs = blob_folder(registry_root())
    table = sha256_digest(documents.parameters)
    store_blob(table, documents.parameters)
    digests = (layer["digest"] for layer in json.loads(documents.manifest)["layers"])
    take_in(blob_folder(layout), blobs, dict.fromkeys(x for x in digests if x != table))
    store_blob(sha256_digest(documents.config), documents.config)
    store_blob(documents.digest, documents.manifest)
    flush_folder(str(blobs))
    point(name, documents.digest)
    return Experiment.load(name)


class DamagedPayloadError(RuntimeError):
    """The bytes of a payload are not those of its digest."""


def take_in(source: Path, target: Path, digests: Iterable[str]) -> None:
    """Link blobs into the registry; an existing one gets a new time, for `ommx.artifact.gc`.

    Args:
        source: The folder that has all of them.
        target: The folder of the registry's blobs.
        digests: Which.

    Raises:
        DamagedPayloadError: One is not what its digest says; no name has been given then.
        FileNotFoundError: The source lacks one, whether the registry has it or not.
    """
    place, registry = f"{source}/", f"{target}/"
    names = [hex_of(digest) for digest in digests]
    new = [name for name in names if not _is_renewed(registry + name, place + name)]
    mode, is_flushed = target.stat().st_mode & MODE, len(new) <= FEW
    for name in new:
        _check(place + name, name, mode, is_flushed=is_flushed)
    if not is_flushed:
        _flush_all(source, new)
    for name in new:
        _link(place + name, registry + name)


def _is_renewed(held: str, source: str) -> bool:
    """Set the time of a blob that both the registry and the source have to now."""
    try:
        os.utime(held)
    except FileNotFoundError:
        return False
    os.lstat(source)
    return True


def _check(path: str, name: str, mode: int, *, is_flushed: bool) -> None:
    """Raise DamagedPayloadError unless a file has the bytes of its name."""
    with open_regular(path) as file:
        if _hex_of_bytes(file) != name:
            raise DamagedPayloadError(
                f"blob sha256:{name} is damaged: its bytes have another digest"
            )
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) != mode:
            os.fchmod(file.fileno(), mode)
        if is_flushed:
            os.fsync(file.fileno())


def _hex_of_bytes(file: FileIO) -> str:
    digest, room = hashlib.sha256(), min(os.fstat(file.fileno()).st_size + 1, PIECE_BYTES)
    while piece := file.read(room):
        digest.update(piece)
    return digest.hexdigest()


def _link(path: str, target: str) -> None:
    try:
        os.link(path, target)
    except FileExistsError:  # another process has it, too
        return
    except OSError:  # no hard links here, or another file system
        write_durable(target, Path(path).read_bytes())


def _flush_all(folder: Path, names: Sequence[str]) -> None:
    """Flush many files: with their file system, where the system can."""
    number = os.open(folder, os.O_RDONLY)
    try:
        if (flush := _syncfs()) is not None and flush(number) == 0:
            return
    finally:
        os.close(number)
    for name in names:
        with open_regular(f"{folder}/{name}") as file:
            os.fsync(file.fileno())


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    """Return Linux's `syncfs`, which Python has not."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError, TypeError):
        return None
    return found
