"""Tell Prefect about a recorded attempt: labels, and the owner of a transaction."""

from __future__ import annotations

from ommx_prefect._prefect.labels import label_task_run
from ommx_prefect._recording.record import Record
from ommx_prefect._recording.result_origins import remember_origin
from ommx_prefect._recording.rollback import bind_transaction


def notify_prefect(record: Record) -> None:
    """Label the task run, bind its transaction, and note whose its persisted result will be."""
    if record.context is None:
        return
    label_task_run(record.context.task_run, record.attempt)
    key = bind_transaction(record.attempt)
    if key and record.context.persist_result:
        remember_origin(key, record.attempt.task_run_id)
