"""How a cached task run is recorded: Prefect does not call the function, only a hook."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from ommx_prefect._origin import current_attempt
from ommx_prefect._recording import Recording
from ommx_prefect._result_origins import origin_of
from ommx_prefect._states import Outcome
from ommx_prefect._wrap import recording_options

ORIGIN_COLUMN = "prefect.origin_task_run_id"


def is_cached_here() -> bool:
    """Tell whether Prefect has just taken the result of the task run here from its cache."""
    context = TaskRunContext.get()
    state = context.task_run.state if context else None
    return state is not None and state.name == "Cached"


def record_cached(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> None:
    """Record a Run for a task run whose result was cached (a task's on_completion hook)."""
    context = TaskRunContext.get()
    options = recording_options(task.fn)
    if state.name != "Cached" or context is None or options is None:
        return
    with Recording(current_attempt(context), options, context.parameters, context) as recording:
        record: Any = state.data
        stored = getattr(record, "metadata", None)
        recording.returned(record if stored is None else record.result)
        recording.outcome = Outcome("finished", "Cached")
        if stored is not None and (origin := origin_of(stored.storage_key or "")):
            recording.columns[ORIGIN_COLUMN] = origin
