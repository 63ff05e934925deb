"""Read an experiment with all its Runs from where it was published, be it whole or in parts."""

from __future__ import annotations

from collections.abc import Sequence

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Documents, ExperimentRecord
from ommx_prefect._format.parts import PartPlace, join, places_of
from ommx_prefect._targets.protocol import Target


def read_whole(target: Target, digest: str) -> ExperimentRecord:
    """Return the records of an experiment with all its Runs.

    Args:
        target: Where it was published.
        digest: The digest of its manifest.
    """
    return whole_of(target, decode(target.read(digest)))[0]


def whole_of(
    target: Target, experiment: ExperimentRecord
) -> tuple[ExperimentRecord, Sequence[Documents]]:
    """Return an experiment with all its Runs, and the documents of its parts.

    Raises:
        DocumentError: A part of it is damaged, or is another than its index names.
    """
    places = read_places(target, experiment)
    if not places:
        return experiment, ()
    documents = [target.read(place.digest) for place in places]
    return join(experiment, places, [decode(each) for each in documents]), documents


def read_places(target: Target, experiment: ExperimentRecord) -> tuple[PartPlace, ...]:
    """Return where the parts of an experiment are; none where it is whole."""
    return places_of(experiment, target.read_blob)
