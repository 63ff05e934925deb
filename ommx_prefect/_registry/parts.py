"""Find the parts of an experiment in the Local Registry, and forget those that nothing names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ommx.artifact import list_artifacts
from ommx.experiment import ExperimentCheckpointRef, ExperimentRef

from ommx_prefect._format.decode import decode, manifest_of
from ommx_prefect._format.model import Descriptor
from ommx_prefect._format.parts import PART_OF, PARTS, RUNS, SOLVES, PartPlace, places_of
from ommx_prefect._registry.blobs import read_blob, read_documents, registry_root
from ommx_prefect._registry.names import OUR_NAMES, drop_name
from ommx_prefect.exceptions import DocumentError

# Names of experiments that were put together from their parts (see `whole`).
WHOLES = f"{OUR_NAMES}whole:"
HEX_DIGITS = 64


def places_in(digest: str) -> tuple[PartPlace, ...]:
    """Return where the parts of an experiment of the Local Registry are; none where it is whole.

    Raises:
        DocumentError: It is missing or damaged.
    """
    manifest = manifest_of(read_blob(digest))
    if PARTS not in (manifest.get("annotations") or {}):
        return ()
    return places_of(decode(read_documents(digest)), _read)


def _read(layer: Descriptor) -> bytes:
    return read_blob(layer.digest)


def is_part(annotations: Mapping[str, str]) -> bool:
    """Tell whether annotations are those of a part of an experiment."""
    return PART_OF in annotations


def runs_in(ref: ExperimentRef | ExperimentCheckpointRef) -> int:
    """Return how many Runs an experiment has; of an index, those of its parts."""
    return _count_in(ref, RUNS, ref.run_count)


def solves_in(ref: ExperimentRef | ExperimentCheckpointRef) -> int:
    """Return how many Solves an experiment has; of an index, those of its parts."""
    return _count_in(ref, SOLVES, ref.solve_count)


def _count_in(ref: ExperimentRef | ExperimentCheckpointRef, name: str, own: int) -> int:
    said = ref.annotations.get(name, "")
    return int(said) if PARTS in ref.annotations and said.isdecimal() else own


def named_parts() -> set[str]:
    """Return the digests of all parts that some experiment of the Local Registry names."""
    return _parts_of(_all_names())


@dataclass(frozen=True)
class _NamedImage:
    """An image name of the Local Registry, and what stands under it."""

    image_name: str
    manifest_digest: str
    annotations: Mapping[str, str]


def _all_names() -> list[_NamedImage]:
    """Return all names. `list_experiments` (3.0.0b7) would hold the config of each experiment."""
    refs = list_artifacts(root=registry_root(), include_internal=True)
    return [_NamedImage(ref.image_name, ref.manifest_digest, ref.annotations) for ref in refs]


def _parts_of(named: Iterable[_NamedImage]) -> set[str]:
    indexes = {each.manifest_digest for each in named if PARTS in each.annotations}
    return {place.digest for digest in indexes for place in places_in(digest)}


def forget_unnamed_parts(flow_run_id: str) -> None:
    """Remove the names of parts of a flow run that no experiment names, and what was made of them.

    Another flow run may have stored its parts, and not yet their index: its own are left alone.
    """
    names = _all_names()
    try:
        parts = _parts_of(names)
    except DocumentError:  # which may name any of them
        return
    for each in names:
        is_its = each.annotations.get(PART_OF) == flow_run_id
        if is_its and each.manifest_digest not in parts:
            drop_name(each.image_name)
    forget_stale_wholes()


def forget_stale_wholes() -> None:
    """Remove the composed experiments of parts whose index has no name any more."""
    names = _all_names()
    known = {each.manifest_digest for each in names}
    for each in names:
        index = f"sha256:{each.image_name[-HEX_DIGITS:]}"
        if each.image_name.startswith(WHOLES) and index not in known:
            drop_name(each.image_name)
