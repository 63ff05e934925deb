"""Split an experiment that is too large for one manifest into parts, and join the parts again.

A part is an ordinary Experiment that holds some of the Runs, under the ids that they have in the
whole. The index is an Experiment without Runs. It has everything else of the whole, and one more
attachment that names the parts by digest.

Pure functions over records and bytes. Run parameters have one type each in the whole, and so in
every part.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ommx_prefect._format.compose import Cells, Composition, compose, layers_of, layers_of_run
from ommx_prefect._format.decode import check_blob
from ommx_prefect._format.encode import encode, layer_text
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    ExperimentRecord,
    RunRecord,
    describe,
)
from ommx_prefect._format.schemas import PartsJson, checked
from ommx_prefect._format.strict_json import strict_json
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

# The attachment of an index that names its parts.
NAME = "ommx-prefect.parts"
MEDIA_TYPE = "application/vnd.ommx-prefect.parts.v1+json"
FORMAT = 1

# Annotations of an index: how many parts it has, and how many Runs and Solves are in them.
PARTS = "org.ommx-prefect.parts"
RUNS = "org.ommx-prefect.runs"
SOLVES = "org.ommx-prefect.solves"
OF_AN_INDEX = (PARTS, RUNS, SOLVES)
# Annotation of a part: the id of the flow run whose experiment it is a part of.
PART_OF = "org.ommx-prefect.part-of"

# The sizes of config and run parameters in a manifest have more digits than those of nothing.
DIGITS = 32


@dataclass(frozen=True)
class PartPlace:
    """Where a part is, and which Runs it holds.

    Attributes:
        tag: Its tag, in the repository of the index.
        digest: The digest of its manifest.
        size: The bytes of its manifest.
        first_run_id: The id of its first Run; the others follow one by one.
        runs: How many it holds.
    """

    tag: str
    digest: str
    size: int
    first_run_id: int
    runs: int

    def as_json(self) -> dict[str, Any]:
        """Return the place as the index has it."""
        return {
            "tag": self.tag,
            "digest": self.digest,
            "size": self.size,
            "first_run_id": self.first_run_id,
            "last_run_id": self.first_run_id + self.runs - 1,
            "runs": self.runs,
        }


def split(
    experiment: ExperimentRecord,
    columns: Mapping[str, Cells],
    flow_run_id: str,
    most_bytes: int,
) -> list[Composition]:
    """Return the parts of an experiment: its Runs in their order, as many in each as fit.

    The same Runs make the same parts. A Run is never split: one whose own layers are too many is a
    part by itself, and its manifest is larger.

    Args:
        experiment: The experiment.
        columns: The run parameters of all of it, in columns of one type each.
        flow_run_id: Whose it is.
        most_bytes: The size that the manifest of a part may have.
    """
    annotations = {PART_OF: flow_run_id}
    empty = ExperimentRecord(
        experiment.status, (), annotations=annotations, reason=experiment.reason
    )
    room = most_bytes - len(encode(empty).manifest) - DIGITS
    found = list(_ranges(experiment.runs, room))
    return [_part(experiment, columns, empty, ids) for ids in found]


def layers_bytes(experiment: ExperimentRecord) -> int:
    """Return how many bytes the payload layers take in the manifest of an experiment as one."""
    return _bytes_of(layers_of(experiment))


def _ranges(runs: Sequence[RunRecord], room: int) -> Iterator[range]:
    """Yield the ids of the Runs of each part, for so many bytes of layers."""
    first, size = 0, 0
    known: set[Descriptor] = set()
    for run_id, run in enumerate(runs):
        layers = set(layers_of_run(run))
        added = _bytes_of(layers - known)
        if size + added > room and run_id > first:
            yield range(first, run_id)
            first, size, known = run_id, 0, set()
            added = _bytes_of(layers)
        size += added
        known |= layers
    yield range(first, len(runs))


def _bytes_of(layers: Iterable[Descriptor]) -> int:
    return sum(len(layer_text(layer).encode()) + 1 for layer in layers)


def _part(
    experiment: ExperimentRecord,
    columns: Mapping[str, Cells],
    empty: ExperimentRecord,
    ids: range,
) -> Composition:
    runs = experiment.runs[ids.start : ids.stop]
    part = dataclasses.replace(empty, runs=runs, first_run_id=ids.start)
    return compose(part, (_ColumnsWithin(columns, ids), {}))


class _ColumnsWithin(Mapping[str, Cells]):
    """The columns of some Runs, each made of that of all Runs when it is asked for.

    Args:
        columns: The columns of all Runs.
        ids: Which Runs.
    """

    def __init__(self, columns: Mapping[str, Cells], ids: range) -> None:
        self._columns, self._ids = columns, ids
        self._names = [x for x, cells in columns.items() if any(i in cells for i in ids)]

    def __getitem__(self, name: str) -> Cells:
        cells = self._columns[name]
        return {run_id: cells[run_id] for run_id in self._ids if run_id in cells}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def index_of(
    experiment: ExperimentRecord, places: Sequence[PartPlace]
) -> tuple[Composition, bytes]:
    """Return the index of an experiment, and the document in it that names its parts."""
    document = parts_bytes(experiment.runs, places)
    entries = {**experiment.attachments.entries, NAME: describe(MEDIA_TYPE, document)}
    numbers = (len(places), len(experiment.runs), sum(len(run.solves) for run in experiment.runs))
    index = dataclasses.replace(
        experiment,
        runs=(),
        attachments=Attachments(entries, experiment.attachments.filenames),
        annotations={
            **experiment.annotations,
            **dict(zip(OF_AN_INDEX, map(str, numbers), strict=True)),
        },
    )
    return compose(index, ({}, {})), document


def parts_bytes(runs: Sequence[RunRecord], places: Sequence[PartPlace]) -> bytes:
    """Write the document that names the parts of an experiment with these Runs."""
    document = {
        "format": FORMAT,
        "runs": len(runs),
        "counts": dict(sorted(Counter(run.status for run in runs).items())),
        "parts": [place.as_json() for place in places],
    }
    return json.dumps(document, indent=1).encode()


def places_of(
    index: ExperimentRecord, read: Callable[[Descriptor], bytes]
) -> tuple[PartPlace, ...]:
    """Return where the parts of an experiment are; none where it is whole.

    Args:
        index: An experiment.
        read: Returns the bytes of a layer of it.

    Raises:
        DocumentError: What names its parts is damaged.
        UnknownFormatError: A later release wrote it.
    """
    layer = index.attachments.entries.get(NAME)
    if PARTS not in index.annotations or layer is None or layer.media_type != MEDIA_TYPE:
        return ()
    data = read(layer)
    check_blob(layer, data)
    return tuple(_places(data))


def _places(data: bytes) -> Iterator[PartPlace]:
    document = strict_json(data, "list of parts")
    found = document.get("format") if isinstance(document, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise UnknownFormatError(f"its list of parts has format {found}; upgrade ommx_prefect")
    known = checked(PartsJson, document)
    first = 0
    for each in known["parts"]:
        place = PartPlace(
            each["tag"], each["digest"], each["size"], each["first_run_id"], each["runs"]
        )
        if place.first_run_id != first or place.as_json() != each:
            raise DocumentError(f"its part {place.tag} does not begin with Run {first}")
        first += place.runs
        yield place
    if first != known["runs"]:
        raise DocumentError(f"its parts have {first} Runs instead of {known['runs']}")


def join(
    index: ExperimentRecord, places: Sequence[PartPlace], parts: Sequence[ExperimentRecord]
) -> ExperimentRecord:
    """Return an experiment as it was before it was split.

    Raises:
        DocumentError: A part holds other Runs than its index says.
    """
    if index.runs:
        raise DocumentError("it has Runs of its own beside those of its parts")
    for place, part in zip(places, parts, strict=True):
        if (part.first_run_id, len(part.runs)) != (place.first_run_id, place.runs):
            said = f"{len(part.runs)} Runs from {part.first_run_id}"
            raise DocumentError(f"its part {place.tag} has {said}; {place.runs} are expected")
    entries = {name: x for name, x in index.attachments.entries.items() if name != NAME}
    return dataclasses.replace(
        index,
        runs=tuple(run for part in parts for run in part.runs),
        attachments=Attachments(entries, index.attachments.filenames),
        annotations={k: v for k, v in index.annotations.items() if k not in OF_AN_INDEX},
    )
