"""Look up, move and remove image names of the Local Registry.

Several names move together or not at all. Names that this package gives for itself start with
`OUR_NAMES`, and are shown to nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from filelock import FileLock
from ommx.artifact import list_artifacts, remove_image
from ommx.experiment import Experiment, list_experiment_checkpoints, list_experiments

from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._registry.point import point
from ommx_prefect.exceptions import InvalidImageNameError

OUR_NAMES = "ommx-prefect.local/"


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
                point(name, digest)


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
            if annotations.get(key) == value and not name.startswith(OUR_NAMES):
                return Experiment.load(name)
    return None


def _names_locked() -> FileLock:
    return FileLock(registry_root() / "ommx-prefect-names.lock")


class NameMovedError(RuntimeError):
    """Another process has moved a name meanwhile; the caller has to decide again."""


def drop_name(name: str) -> None:
    """Remove a name; what it pointed to is left to `ommx.artifact.gc`."""
    remove_image(name, root=registry_root())


def drop_name_of(name: str, digest: str) -> None:
    """Remove a name of a manifest; one that has gone meanwhile stays gone.

    Raises:
        NameMovedError: It points to another manifest now.
    """
    with _names_locked():
        if (found := find(name)) not in (None, digest):
            raise NameMovedError(f"{name} points to another experiment now")
        if found:
            drop_name(name)


def anonymous_name(suffix: str) -> str:
    """Return an anonymous Experiment name of this registry, with a tag of our own."""
    repository, _, _ = Experiment().image_name.rpartition(":")
    return f"{repository}:{suffix}"


def checkpoint_name(requested: str) -> str:
    """Return the name under which OMMX keeps the checkpoint of a requested image name."""
    host, _, _ = Experiment().image_name.partition("/")
    return f"{host}/checkpoint:{hashlib.sha256(requested.encode()).hexdigest()}"


def earlier_name(digest: str) -> str:
    """Return the name of an earlier night whose own name points to another experiment here."""
    return f"{OUR_NAMES}earlier:{digest.removeprefix('sha256:')}"


def sealing_name(flow_run_id: str) -> str:
    """Return the name under which the experiment of a flow run is imported, to be verified."""
    return f"{OUR_NAMES}sealing:{flow_run_id}"


def opening_line(name: str, *, is_checkpoint: bool = False, in_parts: bool = False) -> str:
    """Return the Python expression that opens an experiment, for a person to copy.

    It is one of plain `ommx`; of an experiment in parts it is one of this package.
    """
    if in_parts:
        return f'ommx_prefect.load_experiment("{name}")'
    method = "restore_from_checkpoint" if is_checkpoint else "load"
    return f'Experiment.{method}("{name}")'
