"""Take the one instance out of an OMMX archive or a published dataset."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ommx import Instance, dataset
from ommx.artifact import ArchiveDescriptor, Artifact, RemoteArtifactError

from ommx_prefect._format.model import CONFIG_MEDIA_TYPE, INSTANCE_MEDIA_TYPE
from ommx_prefect.exceptions import InstanceFileError

_INSTANCE_LAYERS = frozenset({"application/org.ommx.v1.instance", INSTANCE_MEDIA_TYPE})
_TITLE = "org.ommx.v1.instance.title"


@dataclass(frozen=True)
class _Dataset:
    """A collection of instances that OMMX publishes."""

    names: Callable[[], Mapping[str, object]]
    load: Callable[[str], Instance]


DATASETS: dict[str, _Dataset] = {
    "miplib2017": _Dataset(dataset.miplib2017_instance_annotations, dataset.miplib2017),
    "qplib": _Dataset(dataset.qplib_instance_annotations, dataset.qplib),
}


def from_archive(path: Path, source: str) -> Instance:
    """Import an archive into the Local Registry and return its instance.

    Raises:
        InstanceFileError: It is none, or holds none or several; then they are named.
    """
    try:
        manifest = Artifact.inspect_archive(path)
    except Exception as error:
        raise InstanceFileError(source, f"it cannot be read: {error}") from error
    if manifest.config.media_type == CONFIG_MEDIA_TYPE:
        reason = "an archive of an Experiment; open it with ommx.experiment.Experiment"
        raise InstanceFileError(source, reason)
    instances = [layer for layer in manifest.layers if layer.media_type in _INSTANCE_LAYERS]
    if not instances:
        held = ", ".join(sorted({layer.media_type for layer in manifest.layers})) or "nothing"
        raise InstanceFileError(source, f"no instance in this archive, it holds {held}")
    if len(instances) > 1:
        raise InstanceFileError(source, _several(instances))
    return Artifact.import_archive(path).instance


def _several(layers: list[ArchiveDescriptor]) -> str:
    named = ", ".join(
        f"{layer.annotations.get(_TITLE, 'untitled')} ({layer.digest[:19]})" for layer in layers
    )
    return (
        f"it holds {len(layers)} instances: {named}. Take the one you mean with "
        "ommx.artifact.Artifact.import_archive(path).get_instance(layer)"
    )


def from_dataset(source: str, collection: str, name: str) -> Instance:
    """Pull an instance of a collection, unless it is there already.

    Raises:
        InstanceFileError: There is none of this name, or it cannot be pulled.
    """
    names = DATASETS[collection].names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"it has {len(names)} others"
        raise InstanceFileError(source, f"{collection} has no instance {name!r}; {hint}")
    try:
        return DATASETS[collection].load(name)
    except RemoteArtifactError as error:
        reason = f"it is not in the Local Registry and could not be pulled: {error}"
        raise InstanceFileError(source, reason) from error
