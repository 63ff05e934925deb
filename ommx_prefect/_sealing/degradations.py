"""Describe in sentences what is missing or damaged in an experiment."""

from __future__ import annotations

from collections.abc import Sequence

from ommx_prefect._sealing.ledger import Entry
from ommx_prefect._sealing.load import SealInputs
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._values.secrets import REDACTED

# Of a task run, in a warning.
LONGEST_NAME = 80
# Records that were set aside, in a warning.
MOST_NAMED = 10


def warnings_of(inputs: SealInputs, entries: Sequence[Entry], name: str) -> tuple[str, ...]:
    """Return one sentence for each thing that is lost, out of reach, or named otherwise.

    Args:
        inputs: What is sealed.
        entries: Its Runs.
        name: The name of its experiment.
    """
    missing = [] if inputs.problems else _unaccounted_for(inputs, entries)
    notes = (note for entry in entries if entry.notes for note in _notes_of(entry))
    aside = _aside_warning(inputs.staged.aside)
    told = (*missing, *notes, *_redacted(inputs), *aside, *_name_warning(inputs.record, name))
    return (*inputs.problems, *told)


def _redacted(inputs: SealInputs) -> list[str]:
    """Say how often a secret was cut out of the facts about the flow run and its subflows."""
    told = (vars(inputs.record), *inputs.staged.subflows.values())
    count = sum(str(fields).count(REDACTED) for fields in told)
    said = f"{count} texts with a secret are replaced by {REDACTED}"
    return [f"{said} in names and parameters of the flow run"] if count else []


def _aside_warning(names: Sequence[str]) -> list[str]:
    """Say how many damaged records were set aside, and name the first of them."""
    if not names:
        return []
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    said = ", ".join(names[:MOST_NAMED])
    return [f"{len(names)} damaged records were set aside, and are kept: {said}{more}"]


def _unaccounted_for(inputs: SealInputs, entries: Sequence[Entry]) -> list[str]:
    """Say how many task runs left no trace: their worker could not begin them."""
    known = {entry.task_run_id for entry in entries} | {row.task_run_id for row in inputs.rows}
    missing = len(inputs.expected - known)
    said = f"{missing} task runs left no record, and Prefect does not know them: they never began"
    return [f"{said}, or what they recorded is lost"] if missing else []


def _notes_of(entry: Entry) -> list[str]:
    # A name made of an argument can be a whole table, or one word without end.
    name = " ".join((entry.task_run or entry.task).split())
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return [f"{short} (attempt {entry.attempt}): {note}" for note in entry.notes]


def _name_warning(record: FlowRecord, name: str) -> list[str]:
    if name == record.image_name:
        return []
    return [f"{record.image_name} was taken meanwhile; this experiment stands under {name}"]
