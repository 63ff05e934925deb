"""How this package reads and writes OMMX's Local Registry.

Blobs are files `blobs/sha256/<hex>` below the registry's root; names are kept by OMMX. Every
name in the registry makes each later `commit()` slower (OMMX 3.0.0b7: 1.2 ms with an empty
registry, 7 ms with 10,000 names), so an attempt's Experiment is stored without one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import re
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock
from ommx.artifact import (
    get_local_registry_root,
    list_artifacts,
    remove_image,
    restore_image,
)
from ommx.experiment import (
    AutosavePolicy,
    Experiment,
    list_experiment_checkpoints,
    list_experiments,
)

from ommx_prefect._format.decode import check_blob, descriptor_of, manifest_of, parameters_layer
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Documents, sha256_digest
from ommx_prefect.exceptions import DocumentError, InvalidImageNameError

ROOT_VARIABLE = "OMMX_LOCAL_REGISTRY_ROOT"
# The name on which every unnamed Experiment is refused; it holds an empty Experiment.
_OUR_NAMES = "ommx-prefect.local/"
RESERVED_NAME = f"{_OUR_NAMES}reserved:unnamed"
_REFUSAL = re.compile(r"manifest (sha256:[0-9a-f]{64}) was not published")
_reserved = threading.Lock()
_can_refuse: bool | None = None
_scratch_numbers = itertools.count()
# The contents are what matters; where the system tells them from the metadata, that is cheaper.
_sync = getattr(os, "fdatasync", os.fsync)


# OMMX takes the path as it stands: after a change of folder it would be another registry.
if ROOT_VARIABLE in os.environ:
    os.environ[ROOT_VARIABLE] = os.path.abspath(os.environ[ROOT_VARIABLE])


@functools.cache
def registry_root() -> Path:
    """Return the root of the Local Registry; OMMX fixes it once per process."""
    return get_local_registry_root().absolute()


def blob_path(digest: str) -> Path:
    """Return where the Local Registry keeps a blob."""
    return _blobs() / digest.removeprefix("sha256:")


@functools.cache
def _blobs() -> Path:
    return registry_root() / "blobs" / "sha256"


def read_blob(digest: str) -> bytes:
    """Read a blob and check that it is what its digest says.

    Raises:
        DocumentError: It is missing or damaged.
    """
    try:
        data = blob_path(digest).read_bytes()
    except OSError as error:
        raise DocumentError(f"blob {digest} cannot be read: {error}") from error
    if sha256_digest(data) != digest:
        raise DocumentError(f"blob {digest} is damaged: its bytes have another digest")
    return data


def read_documents(digest: str) -> Documents:
    """Read the documents of the Experiment with this manifest digest."""
    manifest = read_blob(digest)
    document = manifest_of(manifest)
    config = read_blob(document["config"]["digest"])
    check_blob(descriptor_of(document["config"]), config)
    return Documents(manifest, config, read_blob(parameters_layer(document).digest))


# ---------------------------------------------------------------- storing without a name


def open_experiment(*, store_trace: bool = False) -> Experiment:
    """Open an Experiment that `store` will put into the registry."""
    name = RESERVED_NAME if _refusals_tell_digests() else _scratch_name()
    experiment = Experiment(name, store_trace=store_trace)
    experiment.set_autosave_policy(AutosavePolicy.disabled())
    return experiment


def store(experiment: Experiment) -> Documents:
    """Store a closed Experiment in the registry under no name, and return its documents.

    OMMX has no commit without a name. Committing to a name that is taken stores every blob and
    then refuses the name, with the manifest's digest in the refusal: one SQLite transaction less
    than commit and remove, and no growing list of names. `_refusals_tell_digests` checks once per
    process that this OMMX does so; otherwise the name is committed and removed again.
    """
    if experiment.image_name == RESERVED_NAME:
        return _documents(_refused_digest(experiment))
    experiment.commit()
    return read_documents(remove_image(experiment.image_name, root=registry_root()) or "")


# What nobody logged anything on is the same Experiment again and again.
_documents = functools.lru_cache(maxsize=16)(read_documents)


def _refused_digest(experiment: Experiment) -> str:
    try:
        experiment.commit()
    except RuntimeError as refusal:
        found = _REFUSAL.search(str(refusal))
        if found is None:
            raise
        return found[1]
    raise RuntimeError(f"{RESERVED_NAME} is not reserved any more")


def _refusals_tell_digests() -> bool:
    global _can_refuse
    if _can_refuse is None:
        with _reserved:
            if _can_refuse is None:
                _can_refuse = _try_refusal()
    return _can_refuse


def _try_refusal() -> bool:
    if find(RESERVED_NAME) is None:
        _commit_empty(RESERVED_NAME)
    probe = Experiment(RESERVED_NAME)
    probe.set_annotation("org.ommx-prefect.probe", uuid.uuid4().hex)
    try:
        read_documents(_refused_digest(probe))
    except (RuntimeError, DocumentError):
        return False
    return True


def _commit_empty(name: str) -> None:
    try:
        Experiment(name).commit()
    except RuntimeError:  # another process was first
        if find(name) is None:
            raise


def _scratch_name() -> str:
    return f"{_OUR_NAMES}scratch:{uuid.uuid4().hex}"


def sealing_name(owner: str) -> str:
    """Return the name under which the experiment of a flow run is imported, to be verified."""
    return f"{_OUR_NAMES}sealing:{owner}"


# ---------------------------------------------------------------- names


def canonical_name(name: str) -> str:
    """Return an image name as OMMX writes it.

    Raises:
        InvalidImageNameError: It does not parse, or pins a digest.
    """
    if "@" in name:
        raise InvalidImageNameError(name, "a digest cannot be chosen beforehand")
    try:
        return Experiment(name).image_name
    except ValueError as error:
        raise InvalidImageNameError(name, str(error)) from error


def find(name: str) -> str | None:
    """Return the manifest digest that a name points to in the Local Registry, or None."""
    refs = list_artifacts(name, root=registry_root(), include_internal=True)
    return next((ref.manifest_digest for ref in refs if ref.image_name == name), None)


def move_names(digest: str, names: Mapping[str, str | None]) -> None:
    """Point names to a manifest that the registry holds: all of them, or none.

    Args:
        digest: The manifest's digest.
        names: The names, and what each pointed to when it was decided to move it.

    Raises:
        NameMovedError: One points to something else since.
    """
    with _names_locked():
        found = {name: find(name) for name in names}
        if moved := [x for x in names if found[x] not in (None, names[x], digest)]:
            raise NameMovedError(f"{moved[0]} points to another experiment now")
        for name in names:
            if found[name] != digest:
                remove_image(name, root=registry_root())
                restore_image(name, digest, root=registry_root())


def load_named(name: str, digest: str) -> Experiment | None:
    """Open what a name points to, or return None where that is not (any more) this manifest."""
    with _names_locked():  # while a name moves it is missing, and `load` asks a registry for it
        return Experiment.load(name) if find(name) == digest else None


def load_annotated(key: str, value: str) -> Experiment | None:
    """Open a sealed experiment, or else a checkpoint, by an annotation; None if there is none."""
    with _names_locked():
        listed = [(each.image_name, each.annotations) for each in list_experiments()]
        listed += [
            (each.checkpoint_image_name, each.annotations) for each in list_experiment_checkpoints()
        ]
        for name, annotations in listed:
            if annotations.get(key) == value and not name.startswith(_OUR_NAMES):
                return Experiment.load(name)
    return None


def _names_locked() -> FileLock:
    return FileLock(registry_root() / "ommx-prefect-names.lock")


class NameMovedError(RuntimeError):
    """Another process has moved a name meanwhile; whoever wanted it has to decide again."""


def drop_name(name: str) -> None:
    """Remove a name; what it pointed to is left to `ommx gc`."""
    remove_image(name, root=registry_root())


def anonymous_name(suffix: str) -> str:
    """Return an anonymous Experiment name of this registry, with a tag of our own."""
    repository, _, _ = Experiment().image_name.rpartition(":")
    return f"{repository}:{suffix}"


def checkpoint_name(requested: str) -> str:
    """Return the name under which OMMX keeps the checkpoint of a requested image name."""
    host, _, _ = Experiment().image_name.partition("/")
    return f"{host}/checkpoint:{hashlib.sha256(requested.encode()).hexdigest()}"


# ---------------------------------------------------------------- publishing


def import_layout(layout: Path, documents: Documents, name: str) -> Experiment:
    """Import documents, and the payload blobs that lie in an OCI image layout, under a name.

    Args:
        layout: A directory whose `blobs/sha256` holds every payload layer; the documents,
            `index.json` and `oci-layout` are written into it.
        documents: What to import; OMMX verifies every digest on the way in.
        name: The image name to import under.
    """
    for blob in (documents.parameters, documents.config, documents.manifest):
        path = layout / "blobs" / "sha256" / sha256_digest(blob).removeprefix("sha256:")
        write_whole(path, blob)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps(_index(documents.manifest, name)))
    return Experiment.import_archive(layout)


def write_whole(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file so that it is seen whole or not at all; its folder is made if need be."""
    folder, name = os.path.split(path)
    scratch = f"{folder}/.{name}.{os.getpid()}-{next(_scratch_numbers)}"
    # Each system call lets another thread have Python's lock, so there is no buffer.
    try:
        file = open(scratch, "xb", buffering=0)  # noqa: SIM115
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        file = open(scratch, "xb", buffering=0)  # noqa: SIM115
    try:
        with file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
            if durable:
                _sync(file.fileno())
        os.replace(scratch, path)
    except BaseException:  # half a file on a full disk helps nobody
        with contextlib.suppress(OSError):
            os.unlink(scratch)
        raise


def _index(manifest: bytes, name: str) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": MANIFEST_MEDIA_TYPE,
                "digest": sha256_digest(manifest),
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
        ],
    }
