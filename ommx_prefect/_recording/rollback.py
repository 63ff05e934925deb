"""Record a rollback, which happens after the attempt has left its shard."""

from __future__ import annotations

from typing import Any

from prefect.transactions import get_transaction

from ommx_prefect._prefect.log import warn
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import ROLLED_BACK
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._values.error_texts import describe_error

_ATTEMPT = "org.ommx-prefect.attempt"


def bind_transaction(attempt: Attempt) -> str | None:
    """Write the task run into Prefect's transaction; return the key of the result to be stored."""
    transaction = get_transaction()
    if transaction is None:
        return None
    transaction.set(_ATTEMPT, (attempt.root_flow_run_id, attempt.task_run_id))
    return transaction.key


def record_rollback(transaction: Any) -> None:
    """Note that a task run was rolled back (a task's on_rollback hook)."""
    try:
        bound = transaction.get(_ATTEMPT, None)
        if bound is not None:
            root_flow_run_id, task_run_id = bound
            stage_of(root_flow_run_id).write(f"{ROLLED_BACK}/{task_run_id}", {})
    except Exception as error:  # Prefect then calls no other hook of the transaction: the user's
        warn(f"A rollback could not be recorded: {describe_error(error)}")
