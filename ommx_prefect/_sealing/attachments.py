"""Join what the body of a flow has logged on its experiment: attachments and annotations."""

from __future__ import annotations

from collections.abc import Sequence

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Attachments, Descriptor
from ommx_prefect._shards.shard import Shard


def attachments_of(
    parts: Sequence[Shard], before: Attachments
) -> tuple[Attachments, dict[str, str]]:
    """Join what the flow body logged, and its annotations.

    A flow run that is retried logs the same names again: the latest has the name, and earlier
    ones that differ are kept as `name@1`, `name@2`, ...

    Args:
        parts: What is staged of it, one for each call.
        before: What was sealed of it before.
    """
    entries: dict[str, Descriptor] = dict(before.entries)
    filenames: dict[str, str] = dict(before.filenames)
    annotations: dict[str, str] = {}
    for part in parts:
        if part.documents is None:
            continue
        experiment = decode(part.documents)
        annotations.update(experiment.annotations)
        for name, descriptor in experiment.attachments.entries.items():
            if entries.get(name, descriptor) != descriptor:
                _move_aside(name, entries, filenames)
            entries[name] = descriptor
        filenames.update(experiment.attachments.filenames)
    return Attachments(entries, filenames), annotations


def _move_aside(name: str, entries: dict[str, Descriptor], filenames: dict[str, str]) -> None:
    number = 1
    while f"{name}@{number}" in entries:
        number += 1
    entries[f"{name}@{number}"] = entries[name]
    if name in filenames:
        filenames[f"{name}@{number}"] = filenames[name]
