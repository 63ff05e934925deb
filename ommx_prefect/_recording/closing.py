"""Close the record of an attempt: store its Run, and stage its shard."""

from __future__ import annotations

import time

from ommx_prefect._recording.attach import note_unattached
from ommx_prefect._recording.notify import note_result
from ommx_prefect._recording.record import Record
from ommx_prefect._recording.redaction import (
    TRACE_LEFT_OUT,
    redaction_notes,
    without_leaking_trace,
    without_secrets,
)
from ommx_prefect._registry import keepalive
from ommx_prefect._shards import unwritten
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._values.error_texts import one_line
from ommx_prefect.exceptions import RecordingError


def close_record(record: Record, error: BaseException | None) -> None:
    """Leave the shard of an attempt that has returned, or has raised this error.

    What fails is a fault of the record; nothing is raised but timeouts and signals.
    """
    if error is not None:
        record.raised(error)
    try:
        _finish(record)
    except BaseException as late:  # a timeout or a signal: the record comes first
        record.raised(late)
        _finish(record)
        raise
    finally:
        keepalive.release(record.attempt)


def raise_if_required(record: Record, error: BaseException | None) -> None:
    """Fail a task that succeeded, where its record is required and not whole.

    Raises:
        RecordingError: Something could not be recorded, and on_error="raise".
    """
    if record.faults.first and error is None and record.options.on_error == "raise":
        raise RecordingError(record.attempt.task, record.faults.first)


def _finish(record: Record) -> None:
    record.take_no_more()
    note_unattached(record)
    with record.faults.guarded("close the Run"):
        record.open_run.close(record.end.status, _reason_of(record) or "")
    record.outside_timeout(_put_shard)(record)
    note_result(record)


def _put_shard(record: Record) -> None:
    faults = record.faults
    with faults.guarded("store the Run"):
        record.open_run.store()
        _redact_documents(record)
    with faults.guarded("stage the Run"):
        kept_here = record.stage.put(_shard_of(record))
        faults.first = faults.first or kept_here
        if kept_here and record.end is not record.outcome:  # the task fails for it: so its Run
            LocalStage(record.attempt.root_flow_run_id).put(_shard_of(record))
        record.forget_announced()
        return
    record.open_run.documents, record.open_run.payload = None, {}
    unwritten.remember(_shard_of(record))


def _redact_documents(record: Record) -> None:
    run = record.open_run
    if run.documents is None:
        return
    try:
        searched = without_secrets(run.documents, record.redact)
        if record.options.store_trace:
            searched, is_whole = without_leaking_trace(searched, record.redact)
            if not is_whole:
                record.faults.note(TRACE_LEFT_OUT)
    except Exception:  # what was not searched is not stored
        run.documents, run.payload = None, {}
        raise
    run.documents = searched


def _shard_of(record: Record) -> Shard:
    end, faults = record.end, record.faults
    duration = time.monotonic() - record.began
    degradation = (f"degraded: {faults.first}",) if faults.first else ()
    reason = _reason_of(record)
    redacted = redaction_notes(record.redact)  # of the reason, too
    return Shard(
        attempt=record.attempt,
        status=end.status,
        reason=reason,
        parameters={**record.attempt.parameters(end.state, duration), **record.columns},
        notes=(*faults.notes, *redacted, *degradation),
        documents=record.open_run.documents,
        payload=record.open_run.payload,
    )


def _reason_of(record: Record) -> str | None:
    reason = record.end.reason
    return None if reason is None else one_line(record.redact.text(reason))
