"""The `task` decorator: Prefect's own, whose every attempt becomes an OMMX Run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

import prefect
from prefect.tasks import Task, TaskOptions
from typing_extensions import Unpack

from ommx_prefect._decorators.cached import is_cached_here, record_cached
from ommx_prefect._decorators.identity import source_code_of, task_key_of, user_function
from ommx_prefect._decorators.unknown_options import (
    refuse_no_switch,
    refuse_text,
    refuse_unknown,
    with_known_options,
)
from ommx_prefect._decorators.wrap import recording_options, wrap
from ommx_prefect._flowrun.pending import remember_future
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.rollback import record_rollback
from ommx_prefect._workarounds.rust_spans import silence_rust_spans

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

OnError = Literal["warn", "raise"]


OWN_OPTIONS = ("log_inputs", "log_output", "on_error", "store_trace")


class RecordedTask(Task[P, R]):
    """A Prefect task that remembers what it submitted, so that a seal can wait for it."""

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        super().__init__(fn, **options)
        self.on_rollback_hooks = _with(self.on_rollback_hooks, record_rollback)
        self._identify()

    def _identify(self) -> None:
        """Take the key and the source code that plain Prefect has for the user's function."""
        fn = user_function(self.fn)
        self.task_key = task_key_of(fn) or self.task_key
        if self.source_code is None:
            self.source_code = source_code_of(fn)

    def with_options(self, **options: Any) -> RecordedTask[P, R]:
        """Return a copy with other options, as `prefect.Task.with_options` does."""
        plain = super().with_options(**options)
        copy: RecordedTask[P, R] = object.__new__(type(self))
        copy.__dict__.update(plain.__dict__)
        copy.task_key, copy.source_code = self.task_key, self.source_code
        return copy

    @property
    def on_completion_hooks(self) -> list[Any]:
        """The user's hooks, and for a cached task run the hook that records it.

        Prefect logs each hook it runs: one that waits for a cache hit would fill the log.
        """
        hooks: list[Any] = self.__dict__.get("on_completion_hooks", [])
        return [*hooks, record_cached] if is_cached_here() else hooks

    @on_completion_hooks.setter
    def on_completion_hooks(self, hooks: list[Any]) -> None:
        self.__dict__["on_completion_hooks"] = hooks

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Submit the task as `prefect.Task.submit` does."""
        return remember_future(super().submit(*args, **kwargs), self.name)

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Map the task as `prefect.Task.map` does."""
        return remember_future(super().map(*args, **kwargs), self.name)


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    fn: None = None,
    /,
    *,
    log_inputs: bool | Collection[str] = True,
    log_output: bool = True,
    on_error: OnError = "warn",
    store_trace: bool = False,
    **prefect_task_options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    log_inputs: bool | Collection[str] = True,
    log_output: bool = True,
    on_error: OnError = "warn",
    store_trace: bool = False,
    **prefect_task_options: Any,
) -> Any:
    """Make a function a Prefect task whose every attempt becomes an OMMX Run.

    Args:
        fn: A function, coroutine function, generator or async generator, or a method of a class.
        log_inputs: Record the scalar arguments as run parameters: all, none, or those named.
            Arguments that look like credentials are never recorded.
        log_output: Attach what the function returns as `output`, by codec (`ommx_prefect.codecs`);
            the values of a generator as `output.0`, `output.1`, ... None is not attached.
        on_error: What a failure to record does: `warn` logs it and marks the experiment as
            degraded; `raise` lets a task that succeeded fail with `RecordingError`.
        store_trace: Store OMMX's trace of the attempt (OTLP protobuf) with its Run. OMMX installs
            an OpenTelemetry TracerProvider for it where there is none, and its Rust core sends no
            spans to Python in this process any more.
        prefect_task_options: Everything that `prefect.task` takes.
    """
    refuse_text("task", fn)
    others = " and those of prefect.task"
    refuse_unknown("task", prefect_task_options, OWN_OPTIONS, Task.__init__, others)
    if fn is None:
        return functools.partial(
            task,
            log_inputs=log_inputs,
            log_output=log_output,
            on_error=on_error,
            store_trace=store_trace,
            **prefect_task_options,
        )
    options = _options(log_inputs, log_output, on_error, store_trace)
    # As `prefect.task` has it: None is the flow's choice, and a Task's own default False is not.
    return RecordedTask(
        _recorded(fn, options, is_task=True), **{"log_prints": None, **prefect_task_options}
    )


@overload
def recorded(fn: F, /) -> F: ...
@overload
def recorded(
    fn: None = None,
    /,
    *,
    log_inputs: bool | Collection[str] = True,
    log_output: bool = True,
    on_error: OnError = "warn",
    store_trace: bool = False,
) -> Callable[[F], F]: ...
@with_known_options("; Prefect's go into the @prefect.task above it")
def recorded(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    log_inputs: bool | Collection[str] = True,
    log_output: bool = True,
    on_error: OnError = "warn",
    store_trace: bool = False,
) -> Any:
    """Record a function that runs under a plain `@prefect.task`; options as for `task`.

    Prefect does not call a function whose result it has cached: such a task run has no Run, and a
    row of the ledger only if Prefect's API lists it when the flow run is sealed.
    """
    options = _options(log_inputs, log_output, on_error, store_trace)
    if fn is None:
        return functools.partial(_recorded, options=options)
    return _recorded(fn, options)


def _options(
    log_inputs: bool | Collection[str], log_output: bool, on_error: OnError, store_trace: bool
) -> RecordingOptions:
    if on_error not in ("warn", "raise"):
        raise ValueError(f"on_error={on_error!r} is neither 'warn' nor 'raise'")
    if isinstance(log_inputs, str):
        raise TypeError(f"log_inputs={log_inputs!r} is a string; write [{log_inputs!r}]")
    if not isinstance(log_inputs, (bool, Collection)):
        raise TypeError(
            f"log_inputs={log_inputs!r} is neither True, nor False, nor names of arguments"
        )
    refuse_no_switch("log_output", log_output)
    refuse_no_switch("store_trace", store_trace)
    if store_trace:
        silence_rust_spans()
    wanted = log_inputs if isinstance(log_inputs, bool) else frozenset(log_inputs)
    return RecordingOptions(wanted, log_output, on_error, store_trace)


def _recorded(
    fn: Callable[..., Any], options: RecordingOptions, *, is_task: bool = False
) -> Callable[..., Any]:
    if isinstance(fn, prefect.Task):
        raise TypeError(
            f"{fn.name!r} is a Prefect task already; decorate the function itself, "
            "or put @recorded below @prefect.task"
        )
    if isinstance(fn, (staticmethod, classmethod)):
        return cast(Callable[..., Any], type(fn)(_recorded(fn.__func__, options, is_task=is_task)))
    _check_names(fn, options.log_inputs)
    if (own := recording_options(fn)) is None:
        return wrap(fn, options, is_task=is_task)
    _refuse_second(fn, options, own)
    return fn


def _refuse_second(
    fn: Callable[..., Any], options: RecordingOptions, own: RecordingOptions
) -> None:
    """Raise TypeError for recording options on a function that `@recorded` gave its own."""
    unsaid, known = vars(RecordingOptions()), vars(own)
    given = {key: value for key, value in vars(options).items() if value != unsaid[key]}
    if any(value != known[key] for key, value in given.items()):
        shown = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise TypeError(
            f"{getattr(fn, '__name__', repr(fn))} is recorded already, with options of its own; "
            f"give {shown} to the @recorded or @task directly above the function"
        )


def _check_names(fn: Callable[..., Any], log_inputs: bool | Collection[str]) -> None:
    """Raise ValueError for the name of an argument that a function cannot have."""
    if isinstance(log_inputs, bool) or not log_inputs:
        return
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # a builtin that tells no signature
        return
    unknown = set(log_inputs) - {parameter.name for parameter in parameters}
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        name = getattr(fn, "__name__", repr(fn))
        raise ValueError(f"log_inputs: {name} has no argument {min(unknown, key=repr)!r}")


def _with(hooks: list[Any], hook: Any) -> list[Any]:
    return [*(found for found in hooks if found is not hook), hook]
