"""Join what flow bodies have logged on their experiment: attachments and annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Attachments, Descriptor, ExperimentRecord
from ommx_prefect._shards.shard import Attempt, Shard


@dataclass
class Logged:
    """What the bodies of a flow run and its subflows have logged on their experiment.

    Attributes:
        entries: Attachments by name.
        filenames: The names of files, by name of their attachment.
        annotations: The latest of each key.
        warnings: One sentence for each name that several flow runs have given, and for each call
            out of which a secret was cut.
    """

    entries: dict[str, Descriptor]
    filenames: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def attachments(self) -> Attachments:
        """Attachments with the names of their files."""
        return Attachments(self.entries, self.filenames)


@dataclass(frozen=True)
class _Part:
    """What one call of a flow body has logged.

    Attributes:
        attempt: The call.
        experiment: What it has logged.
        flow_run: The name of the flow run that made it.
    """

    attempt: Attempt
    experiment: ExperimentRecord
    flow_run: str

    @property
    def is_of_subflow(self) -> bool:
        return self.attempt.flow_run_id != self.attempt.root_flow_run_id

    @property
    def attachments(self) -> Attachments:
        return self.experiment.attachments


def join_parts(
    parts: Sequence[Shard], before: Attachments, subflows: Mapping[str, Mapping[str, Any]]
) -> Logged:
    """Join what flow bodies logged.

    A flow run that is retried logs the same names again: the latest has the name, and earlier
    ones that differ are kept as `name@1`, `name@2`, ... Where a subflow gives a name that another
    flow run has given, its attachment is `name@subflow`, by the name of the subflow's run; further
    runs of that name have the end of their id as well.

    Args:
        parts: What is staged of it, one for each call.
        before: What was sealed of it before.
        subflows: Records of subflow runs, by id.
    """
    logged = Logged(dict(before.entries), dict(before.filenames))
    found = list(_decoded(parts, subflows))
    for part in found:
        logged.annotations.update(part.experiment.annotations)
    logged.warnings.extend(f"{x.attempt.task}: {note}" for x in parts for note in x.notes)
    holders: dict[str, str] = {}
    for part in sorted(found, key=lambda part: part.is_of_subflow):
        for name in part.attachments.entries:
            _add(name, _name_for(name, part, logged, holders), part.attachments, logged)
    return logged


def _decoded(parts: Sequence[Shard], subflows: Mapping[str, Mapping[str, Any]]) -> Iterator[_Part]:
    for shard in parts:
        if shard.documents:
            flow_run_id = shard.attempt.flow_run_id
            flow_run = subflows.get(flow_run_id, {}).get("flow_run") or flow_run_id
            yield _Part(shard.attempt, decode(shard.documents), str(flow_run))


def _name_for(name: str, part: _Part, logged: Logged, holders: dict[str, str]) -> str:
    """Return the name of an attachment: as it was logged, or with the subflow's name if taken."""
    attempt, descriptor = part.attempt, part.attachments.entries[name]
    is_free = logged.entries.get(name, descriptor) == descriptor
    holder = holders.setdefault(name, attempt.flow_run_id if is_free else attempt.root_flow_run_id)
    if is_free or holder == attempt.flow_run_id or not part.is_of_subflow:
        return name
    whose, other = part.flow_run, f"{name}@{part.flow_run}"
    if holders.setdefault(other, attempt.flow_run_id) != attempt.flow_run_id:  # of the same name
        other = f"{other}-{attempt.flow_run_id[-8:]}"
    said = f"attachment {name!r} was logged by several flow runs; that of {whose!r} is {other!r}"
    logged.warnings.append(said)
    return other


def _add(name: str, free: str, attachments: Attachments, logged: Logged) -> None:
    descriptor = attachments.entries[name]
    if logged.entries.get(free, descriptor) != descriptor:
        _move_aside(free, logged)
    logged.entries[free] = descriptor
    if name in attachments.filenames:
        logged.filenames[free] = attachments.filenames[name]


def _move_aside(name: str, logged: Logged) -> None:
    number = 1
    while f"{name}@{number}" in logged.entries:
        number += 1
    logged.entries[f"{name}@{number}"] = logged.entries[name]
    if name in logged.filenames:
        logged.filenames[f"{name}@{number}"] = logged.filenames[name]
