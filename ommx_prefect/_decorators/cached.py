"""How a cached task run is recorded: Prefect does not call the function, only a hook."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from ommx.experiment import Run
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from ommx_prefect._decorators.late_seal import LateSeal
from ommx_prefect._decorators.wrap import recording_options
from ommx_prefect._flowrun.context import current_attempt
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._recording.recording import Recording
from ommx_prefect._recording.result_origins import origin_of

F = TypeVar("F", bound=Callable[..., Any])
LogCached: TypeAlias = Callable[[Run, Mapping[str, Any], Any], None]
"""Log in this Run what the call's arguments and its cached result tell."""

ORIGIN_COLUMN = "prefect.origin_task_run_id"
LOG_CACHED = "__ommx_prefect_log_cached__"


def when_cached(log: LogCached) -> Callable[[F], F]:
    """Say how a function's own parameters are logged for a task run whose result is cached.

    Its cached result is attached, whatever `log_output` says, and `log` is called. Put it below
    `task`; `log` travels to workers with the function and so must be importable.
    """

    def marked(fn: F) -> F:
        setattr(fn, LOG_CACHED, log)
        return fn

    return marked


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
    log: LogCached | None = getattr(task.fn, LOG_CACHED, None)
    # A hook cannot fail a task: that a Run must be whole has been asked of the one that was run.
    log_output = options.log_output or log is not None
    options = dataclasses.replace(options, log_output=log_output, on_error="warn")
    attempt = current_attempt(context)
    with Recording(attempt, options, context.parameters, context, LateSeal()) as recording:
        record: Any = state.data
        stored = getattr(record, "metadata", None)
        result = record if stored is None else record.result
        if log is not None:  # first: an output that comes before its Run ends the attempt
            with recording.faults.guarded("log what a cached result tells"):
                log(recording.run, context.parameters, result)
        recording.returned(result)
        recording.record.outcome = Outcome("finished", "Cached")
        if stored is not None and (origin := origin_of(stored.storage_key or "")):
            recording.record.columns[ORIGIN_COLUMN] = origin
