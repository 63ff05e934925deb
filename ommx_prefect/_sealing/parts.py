"""Fit an experiment into manifests that registries take: as one, or as parts with an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ommx_prefect._format.compose import Composition, SettledColumns, compose
from ommx_prefect._format.model import ExperimentRecord, hex_of
from ommx_prefect._format.parts import PartPlace, index_of, layers_bytes, split
from ommx_prefect._oci import names
from ommx_prefect._oci.image_name import TAG_LENGTH, with_tag

# The size from which on an experiment is sealed in parts.
MOST_MANIFEST_BYTES = names.MOST_MANIFEST_BYTES
# That the manifest of a part may have. Registries take more; but whoever stores or opens a part
# with OMMX (3.0.0b7) holds 12 kB for each of its Runs.
MOST_PART_BYTES = 2**20
# Of its digest, in the tag of a part: the same part has the same tag, and no other has it.
DIGITS = 12


@dataclass(frozen=True)
class Part:
    """One part: its image name, and its exact bytes."""

    name: str
    composition: Composition


@dataclass(frozen=True)
class Fitted:
    """What is stored of an experiment.

    Attributes:
        composition: It, or its index.
        parts: Its parts; empty where it is one.
        document: What names the parts in the index.
        whole_bytes: The size of its manifest as one; in parts, what it would have at least.
    """

    composition: Composition
    whole_bytes: int
    parts: Sequence[Part] = ()
    document: bytes = b""


def may_fit(experiment: ExperimentRecord) -> bool:
    """Tell whether one manifest may hold an experiment; else not even its layers fit into it."""
    return layers_bytes(experiment) <= MOST_MANIFEST_BYTES


def fitted(
    experiment: ExperimentRecord,
    columns: SettledColumns,
    whole: Composition | None,
    name: str,
    flow_run_id: str,
) -> Fitted:
    """Return an experiment as one, or in parts where its manifest is larger than registries take.

    Args:
        experiment: The experiment.
        columns: The columns of its Runs.
        whole: It as one; None where it does not fit.
        name: Its image name, in whose repository the parts are.
        flow_run_id: Whose it is.
    """
    size = len(whole.documents.manifest) if whole else layers_bytes(experiment)
    if whole is not None and size <= MOST_MANIFEST_BYTES:
        return Fitted(whole, size)
    pieces = split(experiment, columns[0], flow_run_id, min(MOST_PART_BYTES, MOST_MANIFEST_BYTES))
    if len(pieces) < 2:  # no part is smaller: one Run has all the layers, or the experiment itself
        return Fitted(whole or compose(experiment, columns), size)
    places = [_place(piece, number, name) for number, piece in enumerate(pieces, 1)]
    index, document = index_of(experiment, places)
    parts = [
        Part(with_tag(name, place.tag), piece) for place, piece in zip(places, pieces, strict=True)
    ]
    return Fitted(index, size, parts, document)


def _place(piece: Composition, number: int, name: str) -> PartPlace:
    documents, experiment = piece.documents, piece.experiment
    tag = part_tag(name, number, documents.digest)
    size = len(documents.manifest)
    return PartPlace(tag, documents.digest, size, experiment.first_run_id, len(experiment.runs))


def part_tag(name: str, number: int, digest: str) -> str:
    """Return the tag of a part.

    It does not begin with the tag of the index: OMMX finds a name by its beginning (3.0.0b7), and
    would read the manifest of every part wherever the index is looked up.
    """
    of_index = name.rpartition(":")[2]
    return f"part-{number:03}-{hex_of(digest)[:DIGITS]}-of-{of_index}"[:TAG_LENGTH]
