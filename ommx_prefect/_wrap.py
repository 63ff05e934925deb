"""How a function becomes a recorded one of the same kind: sync, async, or a generator of either.

A wrapper travels by value to workers, so it holds plain data and calls importable functions.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractContextManager
from types import CodeType, FunctionType
from typing import Any, ParamSpec, TypeVar, cast

from ommx_prefect._recording import RecordingOptions, start_recording
from ommx_prefect._steps import Steps, Unwatched, relayed, relaying

P = ParamSpec("P")
R = TypeVar("R")

RECORDED = "__ommx_prefect_recorded__"


def wrap(fn: Callable[P, R], options: RecordingOptions) -> Callable[P, R]:
    """Return a recorded function with the kind, the signature and the identity of `fn`."""
    wrapper: Callable[..., Any]
    if inspect.isasyncgenfunction(fn):
        wrapper = relaying(fn, functools.partial(_steps, fn, options))
    elif inspect.iscoroutinefunction(fn):
        wrapper = _wrap_async(fn, options)
    elif inspect.isgeneratorfunction(fn):
        wrapper = _wrap_generator(fn, options)
    else:
        wrapper = _wrap_sync(fn, options)
    setattr(wrapper, RECORDED, options)
    return cast(Callable[P, R], carry_code(wrapper, fn))


def recording_options(fn: object) -> RecordingOptions | None:
    """Return how a function is recorded, or None where it is not."""
    options: RecordingOptions | None = getattr(fn, RECORDED, None)
    return options


def carry_code(wrapper: Callable[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """Put the code of `fn` among the constants of its wrapper.

    Prefect tells tasks of one name apart by a hash of the function's code, which for wrappers
    would be one and the same: `delay()` would then run the wrong task, silently.
    """
    code = getattr(fn, "__code__", None)
    if isinstance(code, CodeType) and isinstance(wrapper, FunctionType):
        own = wrapper.__code__
        wrapper.__code__ = own.replace(co_consts=(*own.co_consts, code))
    return wrapper


def _wrap_sync(fn: Callable[..., Any], options: RecordingOptions) -> Callable[..., Any]:
    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        recording = start_recording(fn, options)
        if recording is None:
            return fn(*args, **kwargs)
        with recording, recording.active():
            return recording.returned(fn(*args, **kwargs))

    return recorded


def _wrap_async(
    fn: Callable[..., Coroutine[Any, Any, Any]], options: RecordingOptions
) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(fn)
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        recording = start_recording(fn, options)
        if recording is None:
            return await fn(*args, **kwargs)
        with recording, recording.active():
            return recording.returned(await fn(*args, **kwargs))

    return recorded


def _wrap_generator(
    fn: Callable[..., Generator[Any, Any, Any]], options: RecordingOptions
) -> Callable[..., Generator[Any, Any, Any]]:
    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _steps(fn, options) as steps:
            return (yield from relayed(steps, fn(*args, **kwargs)))

    return recorded


def _steps(fn: Callable[..., Any], options: RecordingOptions) -> AbstractContextManager[Steps]:
    recording = start_recording(fn, options)
    return contextlib.nullcontext(Unwatched()) if recording is None else recording
