"""The labels that a recorded attempt puts on its task run in Prefect's API."""

from __future__ import annotations

from prefect.client.schemas.objects import TaskRun

from ommx_prefect._shards.shard import Attempt

TASK_LABEL = "org.ommx-prefect.task"
TASK_RUN_LABEL = "org.ommx-prefect.task-run"
HOST_LABEL = "org.ommx-prefect.host"


def label_task_run(task_run: TaskRun, attempt: Attempt) -> None:
    """Label the task run that runs here; the labels go out with the state that comes next."""
    ours = {TASK_LABEL: attempt.task, HOST_LABEL: attempt.host}
    if attempt.task_run != task_run.name:  # there is a secret in it
        ours[TASK_RUN_LABEL] = attempt.task_run
    task_run.labels = {**task_run.labels, **ours}
