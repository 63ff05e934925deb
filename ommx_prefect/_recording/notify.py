"""Label a recorded attempt in Prefect, and remember which attempt made a persisted result."""

from __future__ import annotations

import contextlib

from ommx_prefect._prefect.labels import label_task_run
from ommx_prefect._recording.record import Record
from ommx_prefect._recording.result_origins import remember_origin
from ommx_prefect._recording.rollback import bind_transaction


def notify_prefect(record: Record) -> None:
    """Label the task run, bind its transaction, and keep the key of the result to be."""
    if record.context is None:
        return
    label_task_run(record.context.task_run, record.attempt)
    key = bind_transaction(record.attempt)
    if record.context.persist_result:
        record.result_key = key


def note_result(record: Record) -> None:
    """Write down which task run makes the result that Prefect persists; a failed one makes none."""
    end = record.end
    if record.result_key and end.status == "finished" and end.state != "Cached":
        with contextlib.suppress(Exception):  # a cached Run that names no origin is whole
            remember_origin(record.result_key, record.attempt.task_run_id)
