"""Merge the checkpoints of an attempt into its Run.

Pure functions over records. A name has one value: the one that the Run holds itself, for the task
logged it on purpose. A checkpoint of that name with another value is kept as `name@checkpoint`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping

from ommx_prefect._format.model import Attachments, RunRecord, Scalar

SUFFIX = "@checkpoint"


def merged(run: RunRecord, kept: RunRecord) -> RunRecord:
    """Return a Run with the attachments and parameters of its last checkpoint."""
    return dataclasses.replace(
        run,
        attachments=_attachments(run.attachments, kept.attachments),
        parameters=_parameters(run.parameters, kept.parameters),
    )


def without(run: RunRecord, names: Container[str]) -> RunRecord:
    """Return a Run without the attachments and parameters of these names."""
    entries = {k: v for k, v in run.attachments.entries.items() if k not in names}
    filenames = {k: v for k, v in run.attachments.filenames.items() if k in entries}
    parameters = {k: v for k, v in run.parameters.items() if k not in names}
    attachments = Attachments(entries, filenames)
    return dataclasses.replace(run, attachments=attachments, parameters=parameters)


def _attachments(own: Attachments, kept: Attachments) -> Attachments:
    entries, filenames = dict(own.entries), dict(own.filenames)
    for name, descriptor in kept.entries.items():
        if entries.get(name) == descriptor:
            continue
        free = _free_name(name, entries)
        entries[free] = descriptor
        if name in kept.filenames:
            filenames[free] = kept.filenames[name]
    return Attachments(entries, filenames)


def _parameters(own: Mapping[str, Scalar], kept: Mapping[str, Scalar]) -> dict[str, Scalar]:
    parameters = dict(own)
    for name, value in kept.items():
        if name not in parameters or not _is_same(parameters[name], value):
            parameters[_free_name(name, parameters)] = value
    return parameters


def _is_same(one: Scalar, other: Scalar) -> bool:
    # repr tells True, 1 and 1.0 apart, and makes NaN the same as itself.
    return repr(one) == repr(other)


def _free_name(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += SUFFIX
    return name
