"""Compose one Experiment of many Runs: numbered, with one type per column, as exact bytes.

Pure functions over records: nothing here knows Prefect or a registry. Payloads are never
decoded; a Run keeps its layers by descriptor, and an identical descriptor is stored once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ommx_prefect._format.decode import decode
from ommx_prefect._format.encode import columns_of, encode
from ommx_prefect._format.model import (
    COLUMN_TYPES,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
    Scalar,
)

# What of an Experiment is compared as a whole.
COMPARED = (
    *("status", "reason", "requested_image_name", "attachments", "annotations", "subject"),
    "first_run_id",
)
_TYPE_NAMES = {kind: name for name, kind in COLUMN_TYPES.items()}

Cells = Mapping[int, Scalar]
# Columns of one type each; and the name of each column that was split off -> the parameter's name.
SettledColumns = tuple[Mapping[str, Cells], Mapping[str, str]]


@dataclass(frozen=True)
class Composition:
    """One composed Experiment.

    Attributes:
        documents: Its exact bytes.
        experiment: The records that it was made of.
        columns: Its run parameters, in columns of one type each.
        split_columns: Name of a column made for values of another type -> the parameter's name.
    """

    documents: Documents
    experiment: ExperimentRecord
    columns: Mapping[str, Cells]
    split_columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each run parameter that came with several types."""
        return split_warnings(self.split_columns)


def split_warnings(split_columns: Mapping[str, str]) -> tuple[str, ...]:
    """Say of each run parameter with several types in which columns its values stand."""
    return tuple(
        f"run parameter {name!r} has values of several types; "
        f"those that are {column.rpartition(':')[2]} stand in column {column!r}"
        for column, name in split_columns.items()
    )


def compose(experiment: ExperimentRecord, settled: SettledColumns | None = None) -> Composition:
    """Write one Experiment of Runs that may come from several.

    OMMX keeps one type for each column of run parameters in a whole Experiment. Integers join
    floats where each is exactly a float; other types are kept apart: the type that the first
    Run has keeps the name, the others move to `name:type`.

    Args:
        experiment: What to write.
        settled: The columns of its Runs, where the caller has settled them already.
    """
    columns, split = settled or settle_columns(columns_of(experiment.runs, experiment.first_run_id))
    return Composition(encode(experiment, columns), experiment, columns, split)


def settle_columns(columns: Mapping[str, Cells]) -> SettledColumns:
    """Return columns of one type each, and which of them were split off from which."""
    settled: dict[str, Cells] = {}
    split: dict[str, str] = {}
    for name, cells in columns.items():
        first, *others = _by_type(cells)
        settled[name] = first
        for other in others:
            column = _free_name(f"{name}:{_type_name(other)}", (columns, settled))
            settled[column] = other
            split[column] = name
    return settled, split


def rejoin(run: RunRecord, split_columns: Mapping[str, str]) -> RunRecord:
    """Return an already composed Run with the parameter names under which it logged them."""
    parameters = {split_columns.get(name, name): cell for name, cell in run.parameters.items()}
    return dataclasses.replace(run, parameters=parameters)


def difference(
    documents: Documents, wanted: ExperimentRecord, columns: Mapping[str, Cells] | None = None
) -> str:
    """Say how composed documents differ from what they were made of; empty if they do not.

    Args:
        documents: The exact bytes.
        wanted: What they were made of.
        columns: Its run parameters, where the caller has settled them already.
    """
    found = decode(documents)
    for name in COMPARED:
        if getattr(found, name) != getattr(wanted, name):
            return f"its {name.replace('_', ' ')}"
    if len(found.runs) != len(wanted.runs):
        return f"{len(found.runs)} Runs instead of {len(wanted.runs)}"
    pairs = zip(found.runs, wanted.runs, strict=True)
    for run_id, (run, record) in enumerate(pairs, wanted.first_run_id):
        if dataclasses.replace(run, parameters={}) != dataclasses.replace(record, parameters={}):
            return f"Run {run_id}"
    if columns is None:
        columns, _ = settle_columns(columns_of(wanted.runs, wanted.first_run_id))
    read = columns_of(found.runs, found.first_run_id)
    # repr tells True, 1 and 1.0 apart, and makes NaN the same as itself.
    return "" if repr(_sorted(read)) == repr(_sorted(columns)) else "a parameter"


def _sorted(columns: Mapping[str, Cells]) -> dict[str, dict[int, Scalar]]:
    return {name: dict(sorted(cells.items())) for name, cells in sorted(columns.items())}


def layers_of(experiment: ExperimentRecord) -> set[Descriptor]:
    """Return every payload layer of an Experiment (its run-parameter table is no payload)."""
    layers = set(experiment.attachments.entries.values())
    for run in experiment.runs:
        layers.update(layers_of_run(run))
    return layers


def layers_of_run(run: RunRecord) -> Iterable[Descriptor]:
    """Yield the payload layers of a Run; one that it names twice comes twice."""
    yield from run.attachments.entries.values()
    if run.trace:
        yield run.trace
    for call in (*run.solves, *run.samplings):
        yield from (value for value in call.values() if isinstance(value, Descriptor))


def _by_type(cells: Cells) -> list[Cells]:
    if len(set(map(type, cells.values()))) == 1:  # nearly every column
        return [cells]
    groups: dict[type, dict[int, Scalar]] = {}
    for run_id, value in cells.items():
        groups.setdefault(type(value), {})[run_id] = value
    if int in groups and float in groups and all(map(_is_exact_float, groups[int].values())):
        widened = {run_id: float(value) for run_id, value in groups.pop(int).items()}
        groups[float] = dict(sorted({**groups[float], **widened}.items()))
    return sorted(groups.values(), key=min)


def _is_exact_float(value: Scalar) -> bool:
    return int(float(value)) == value


def _type_name(cells: Cells) -> str:
    return _TYPE_NAMES[type(next(iter(cells.values())))]


def _free_name(name: str, taken: Sequence[Mapping[str, object]]) -> str:
    while any(name in names for names in taken):
        name += "'"
    return name
