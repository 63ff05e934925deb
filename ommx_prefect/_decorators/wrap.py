"""Wrap a function so that it is recorded: sync, async, or a generator of either kind.

A wrapper travels by value to workers, so it holds what it calls: plain data and importable
functions. It uses no globals, for it gets those of the function.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from prefect.context import FlowRunContext, TaskRunContext

from ommx_prefect._decorators.generators import Steps, Unwatched, relaying, relaying_async
from ommx_prefect._decorators.identity import is_function_of, kind_of, passing_for
from ommx_prefect._decorators.late_seal import LateSeal
from ommx_prefect._flowrun.context import current_attempt
from ommx_prefect._prefect.log import warn, warn_once
from ommx_prefect._recording.current import recording_here
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import RecordingError

P = ParamSpec("P")
R = TypeVar("R")

# Starts the recording of an attempt; None where a call is none.
StartsRecording = Callable[[], Recording | None]

RECORDED = "__ommx_prefect_recorded__"


def wrap(fn: Callable[P, R], options: RecordingOptions, *, is_task: bool = False) -> Callable[P, R]:
    """Return a recorded function with the kind, the signature and the identity of `fn`.

    Args:
        fn: The user's function.
        options: What to record.
        is_task: Whether a task is made of it, so that nothing can come between them.
    """
    start = functools.partial(start_recording if is_task else start_below_task, fn, options)
    wrapper = passing_for(kind_of(fn, _KINDS)(fn, start), fn)
    setattr(wrapper, RECORDED, options)
    return cast(Callable[P, R], wrapper)


def recording_options(fn: object) -> RecordingOptions | None:
    """Return how a function is recorded, or None where it is not."""
    options: RecordingOptions | None = getattr(fn, RECORDED, None)
    return options


def start_recording(fn: Callable[..., Any], options: RecordingOptions) -> Recording | None:
    """Return the recording of the attempt that Prefect runs here, or None where there is none.

    There is none for a direct call (`other.fn(x)` in a task, a call in a thread of the user's).
    """
    context = TaskRunContext.get()
    if context is None or not is_function_of(context.task.fn, fn):
        return None
    try:
        attempt = current_attempt(context)
        enclosing = recording_here()
        if enclosing is not None and enclosing.runs(attempt):
            return None
        return Recording(attempt, options, context.parameters, context, LateSeal())
    except Exception as error:  # whatever it is, the task is not to fail for it
        reason = f"could not begin: {describe_error(error)}"
        if options.on_error == "raise":
            raise RecordingError(str(context.task.name), reason) from error
        warn(f"Task {context.task.name!r} is not recorded: it {reason}")
        return None


def start_below_task(fn: Callable[..., Any], options: RecordingOptions) -> Recording | None:
    """Start the recording of an `@recorded` function; warn where no task is found around it."""
    context = TaskRunContext.get()
    is_hidden = context is not None and not is_function_of(context.task.fn, fn)
    if context is not None and is_hidden and recording_here() is None:
        _warn_of_hidden(str(context.task.name), getattr(fn, "__name__", repr(fn)))
    if context is None and (flow_run := FlowRunContext.get()) and flow_run.flow:
        _warn_of_no_task(str(flow_run.flow.name), getattr(fn, "__name__", repr(fn)))
    return start_recording(fn, options)


def _warn_of_no_task(flow: str, function: str) -> None:
    """Warn that a function is not recorded; once for each."""
    warn_once(
        f"Flow {flow!r} calls the recorded function {function!r} outside of a task, and nothing of "
        "it is recorded. Put @task above it: @recorded by itself makes no task"
    )


def _warn_of_hidden(task: str, function: str) -> None:
    """Warn that a function is not recorded; once for each."""
    warn_once(
        f"Task {task!r} calls the recorded function {function!r}, and nothing of it is recorded: "
        "a decorator between them hides it. Put @recorded directly below @task, or give that "
        "decorator functools.wraps"
    )


def _function(fn: Callable[..., Any], start: StartsRecording) -> Callable[..., Any]:
    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        recording = start()
        if recording is None:
            return fn(*args, **kwargs)
        with recording, recording.active():
            return recording.returned(fn(*args, **kwargs))

    return recorded


def _coroutine(fn: Callable[..., Any], start: StartsRecording) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        recording = start()
        if recording is None:
            return await fn(*args, **kwargs)
        async with recording:
            with recording.active():
                return recording.returned(await fn(*args, **kwargs))

    return recorded


def _generator(fn: Callable[..., Any], start: StartsRecording) -> Callable[..., Any]:
    return relaying(fn, functools.partial(_steps, start))


def _async_generator(fn: Callable[..., Any], start: StartsRecording) -> Callable[..., Any]:
    return relaying_async(fn, functools.partial(_steps, start))


def _steps(start: StartsRecording) -> AbstractContextManager[Steps]:
    recording = start()
    return contextlib.nullcontext(Unwatched()) if recording is None else recording


_KINDS: dict[Callable[[Any], bool], Callable[..., Callable[..., Any]]] = {
    inspect.isasyncgenfunction: _async_generator,
    inspect.iscoroutinefunction: _coroutine,
    inspect.isgeneratorfunction: _generator,
    callable: _function,
}
