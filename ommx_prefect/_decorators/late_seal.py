"""Seal the experiment of an attempt that no flow hook will seal: a late seal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from anyio import to_thread

from ommx_prefect._prefect.log import warn
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._sealing.seal import seal_flow_run, seal_task_run
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import SEALED_RECORD, STATE_RECORD
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import root_of
from ommx_prefect._values.error_texts import describe_error


class LateSeal:
    """Seals an attempt outside any flow, or one that ended after its flow run was sealed."""

    def seal(self, attempt: Attempt, outcome: Outcome) -> None:
        """Seal in this thread."""
        with _kept_from_task(attempt):
            if _is_late(attempt):
                _seal(attempt, outcome)

    async def seal_async(self, attempt: Attempt, outcome: Outcome) -> None:
        """Seal in another thread, so that the event loop goes on meanwhile."""
        with _kept_from_task(attempt):
            if _is_late(attempt):
                await to_thread.run_sync(_seal, attempt, outcome)


@contextlib.contextmanager
def _kept_from_task(attempt: Attempt) -> Iterator[None]:
    """Turn an exception of the block into a warning: it must not replace the task's own outcome."""
    try:
        yield
    except Exception as error:  # the shard is safe: a later seal takes it
        why = describe_error(error)
        warn(f"The experiment of {attempt.root_flow_run_id} is not sealed yet: {why}")


def _is_late(attempt: Attempt) -> bool:
    if not attempt.flow_run_id:
        return attempt.root_flow_run_id == attempt.task_run_id
    return LocalStage(attempt.root_flow_run_id).has(STATE_RECORD, SEALED_RECORD)


def _seal(attempt: Attempt, outcome: Outcome) -> None:
    root = root_of(attempt.root_flow_run_id)
    if attempt.flow_run_id and root != registry_root():
        warn(
            f"{attempt.task_run or attempt.task!r} ended after its experiment was sealed, and "
            f"this process has another Local Registry than {root}, where its record waits: "
            f"seal({attempt.root_flow_run_id!r}) takes it there"
        )
        return
    if attempt.flow_run_id:
        # Nobody is waited for in a task: its own future is one of those that a hook waits for.
        seal_flow_run(attempt.root_flow_run_id, pending_seconds=0)
    else:
        seal_task_run(attempt, outcome)
