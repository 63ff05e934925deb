"""Attach values to an attempt's record: its output, yielded values, and checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ommx_prefect._prefect.states import outcome_of_value
from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.checkpoint_values import notes_of
from ommx_prefect._recording.opening import search_for_secrets
from ommx_prefect._recording.output import collected
from ommx_prefect._recording.record import Record
from ommx_prefect._registry.blobs import store_blob
from ommx_prefect.codecs import log_value
from ommx_prefect.exceptions import NoCheckpointError, RecordingError

OUTPUT = "output"
# A generator's values are attached one by one, up to this many: layers are scarce in OCI.
MOST_YIELDED = 1_000
AFTER_FINISH = "the Run was closed by finish() before"


def attach_returned(record: Record, value: object) -> None:
    """Attach what the function returned, and note how it ended."""
    if record.is_in_fork:
        return
    record.outcome = outcome_of_value(value)
    if record.options.log_output:
        _attach_output(record, OUTPUT, value, is_last=True)


def attach_yielded(record: Record, value: object) -> None:
    """Attach one value of a generator."""
    if record.is_in_fork:
        return
    if record.options.log_output and record.yielded < MOST_YIELDED:
        _attach_output(record, f"{OUTPUT}.{record.yielded}", value)
    record.yielded += 1


def note_unattached(record: Record) -> None:
    """Write a note of how many values of a generator are not attached."""
    if record.yielded > MOST_YIELDED:
        too_many = record.yielded - MOST_YIELDED
        record.faults.note(f"{too_many} of {record.yielded} values are not recorded")


def save_checkpoint(record: Record, values: Mapping[str, Any]) -> None:
    """Make values durable now, whatever becomes of the attempt.

    Raises:
        ForkedProcessError: This process was forked from the one that records the attempt.
        NoCheckpointError: The attempt has ended, and its record is closed.
        RecordingError: They could not be written, and on_error="raise".
    """
    record.require_own_process()
    if record.is_over:  # also where a solver of it goes on in a thread
        raise NoCheckpointError
    if record.open_run.is_closed:
        record.faults.note_once(f"a checkpoint is not recorded: {AFTER_FINISH}")
        return
    with _durably(record, "write a checkpoint"):
        search_for_secrets(record, "checkpoint", values)
        for note in record.checkpoints.save(values, record.redact, record.faults.notes):
            record.faults.note(note)


def save_announced(record: Record, announced: Announced) -> None:
    """Store what is known before a solve durably; RecordingError as for a checkpoint.

    `solve` may have said more of a solve than `log_solve`, inside of it, can say.
    """
    before = record.announced
    if record.is_over:
        return
    if record.open_run.is_solving and before and before.covers(announced):
        return
    record.announced = announced
    with _durably(record, "keep what is known before the solve"):
        store_blob(announced.descriptor.digest, announced.data)
        for note in record.checkpoints.announce(announced, record.redact, record.faults.notes):
            record.faults.note(note)


@contextlib.contextmanager
def _durably(record: Record, what: str) -> Iterator[None]:
    try:
        yield
    except NoCheckpointError:
        raise
    except Exception as error:
        reason = record.faults.record_failure(what, error)
        record.faults.note_once(reason, about=what)
        if record.options.on_error == "raise":
            raise RecordingError(record.attempt.task, reason) from error


def _attach_output(record: Record, name: str, value: object, *, is_last: bool = False) -> None:
    if value is None:
        return
    if record.open_run.is_closed:
        record.faults.note(f"{name} is not recorded: {AFTER_FINISH}")
        return
    record.outside_timeout(_attach)(record, name, value, is_last=is_last)


def _attach(record: Record, name: str, value: object, *, is_last: bool) -> None:
    with record.faults.guarded(f"attach {name}"):
        logged = collected(record.open_run, name, value, record.redact) if is_last else None
        if logged is None:
            logged = log_value(record.open_run.run, name, value, forbidden=record.redact)
        for note in notes_of(logged, record.redact):
            record.faults.note(note)
