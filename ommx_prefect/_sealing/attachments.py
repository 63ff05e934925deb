"""Join what flow bodies have logged on their experiment: attachments and annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def join_parts(
    parts: Sequence[Shard], before: Attachments, subflows: Mapping[str, Mapping[str, Any]]
) -> Logged:
    """Join what flow bodies logged.

    A flow run that is retried logs the same names again: the latest has the name, and earlier
    ones that differ are kept as `name@1`, `name@2`, ... Where a subflow gives a name that another
    flow run has given, its attachment is `name@subflow`, by the name of the subflow's run.

    Args:
        parts: What is staged of it, one for each call.
        before: What was sealed of it before.
        subflows: Records of subflow runs, by id.
    """
    logged = Logged(dict(before.entries), dict(before.filenames))
    found = [(part.attempt, decode(part.documents)) for part in parts if part.documents]
    for _, experiment in found:
        logged.annotations.update(experiment.annotations)
    logged.warnings.extend(f"{x.attempt.task}: {note}" for x in parts for note in x.notes)
    holders: dict[str, str] = {}
    for attempt, experiment in sorted(found, key=lambda each: _is_of_subflow(each[0])):
        whose = str(subflows.get(attempt.flow_run_id, {}).get("flow_run") or attempt.flow_run_id)
        for name in experiment.attachments.entries:
            free = _name_for(name, attempt, whose, logged, holders, experiment)
            _add(name, free, experiment, logged)
    return logged


def _is_of_subflow(attempt: Attempt) -> bool:
    return attempt.flow_run_id != attempt.root_flow_run_id


def _name_for(
    name: str,
    attempt: Attempt,
    whose: str,
    logged: Logged,
    holders: dict[str, str],
    experiment: ExperimentRecord,
) -> str:
    """Return the name of an attachment: as it was logged, or with the subflow's name if taken."""
    descriptor = experiment.attachments.entries[name]
    is_free = logged.entries.get(name, descriptor) == descriptor
    holder = holders.setdefault(name, attempt.flow_run_id if is_free else attempt.root_flow_run_id)
    if is_free or holder == attempt.flow_run_id or not _is_of_subflow(attempt):
        return name
    other = f"{name}@{whose}"
    said = f"attachment {name!r} was logged by several flow runs; that of {whose!r} is {other!r}"
    logged.warnings.append(said)
    return other


def _add(name: str, free: str, experiment: ExperimentRecord, logged: Logged) -> None:
    descriptor = experiment.attachments.entries[name]
    if logged.entries.get(free, descriptor) != descriptor:
        _move_aside(free, logged)
    logged.entries[free] = descriptor
    if name in experiment.attachments.filenames:
        logged.filenames[free] = experiment.attachments.filenames[name]


def _move_aside(name: str, logged: Logged) -> None:
    number = 1
    while f"{name}@{number}" in logged.entries:
        number += 1
    logged.entries[f"{name}@{number}"] = logged.entries[name]
    if name in logged.filenames:
        logged.filenames[f"{name}@{number}"] = logged.filenames[name]
