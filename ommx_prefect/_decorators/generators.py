"""Record a generator: its Run is the current one only while its own code runs."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
G = TypeVar("G")


class Steps(Protocol):
    """What runs around each step of a generator: a `Recording`, or `Unwatched`."""

    def active(self) -> AbstractContextManager[None]:
        """Return the context manager in which each step of the generator runs."""

    def yielded_value(self, value: T) -> T:
        """Take note of a value, and return it unchanged."""


class Unwatched:
    """Runs a generator as it is."""

    def active(self) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return contextlib.nullcontext()

    def yielded_value(self, value: T) -> T:
        """Return the value."""
        return value


def relaying(
    fn: Callable[..., Generator[Any, Any, Any]],
    opened: Callable[[], AbstractContextManager[Steps]],
) -> Callable[..., Generator[Any, Any, Any]]:
    """Return a generator function that runs `fn` as `yield from` does, each step of it watched.

    Args:
        fn: A generator function.
        opened: Returns what watches one call of it, and is open until the call ends.
    """
    kept = _kept  # the wrapper gets the globals of its function

    @functools.wraps(fn)
    def recorded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with opened() as steps, kept(fn(*args, **kwargs)) as generator:

            def step(advance: Callable[..., Any], *arguments: Any) -> Any:
                with steps.active():
                    return steps.yielded_value(advance(*arguments))

            try:
                value = step(next, generator)
                while True:
                    try:
                        sent = yield value
                    except BaseException as error:
                        value = step(generator.throw, error)
                    else:
                        value = step(generator.send, sent)
            except StopIteration as stop:
                return stop.value

    return recorded


def relaying_async(
    fn: Callable[..., AsyncGenerator[Any, Any]],
    opened: Callable[[], AbstractContextManager[Steps]],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return an async generator function that runs `fn`, each step of it watched.

    Python has no `yield from` for async generators: what is sent, thrown, and closed is handed on
    here, so that the clean-up of `fn` is a step, too.

    Args:
        fn: An async generator function.
        opened: Returns what watches one call of it, and is open until the call ends.
    """
    begun, kept, in_loop = _begun, _kept, _InLoop  # the wrapper gets the globals of its function

    @functools.wraps(fn)
    async def recorded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with in_loop(opened()) as steps, in_loop(kept(fn(*args, **kwargs))) as generator:

            async def step(advance: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
                with steps.active():
                    return steps.yielded_value(await advance(*arguments))

            try:
                value = await step(begun, generator)
                while True:
                    try:
                        sent = yield value
                    except GeneratorExit:
                        with steps.active():
                            await generator.aclose()
                        raise
                    except BaseException as error:
                        value = await step(generator.athrow, error)
                    else:
                        value = await step(generator.asend, sent)
            except StopAsyncIteration:
                return

    return recorded


class _InLoop(AbstractAsyncContextManager[T]):
    """Enters a context as a sync function does, and leaves it so that the loop may go on."""

    def __init__(self, context: AbstractContextManager[T]) -> None:
        self._context = context

    async def __aenter__(self) -> T:
        return self._context.__enter__()

    async def __aexit__(self, *raised: Any) -> bool | None:
        leave = getattr(self._context, "__aexit__", None)  # a recording's waits for a late seal
        return self._context.__exit__(*raised) if leave is None else await leave(*raised)


_alive: set[Any] = set()


@contextlib.contextmanager
def _kept(generator: G) -> Iterator[G]:
    """Hold a reference to a generator until its wrapper has closed it.

    Where both are garbage, Python would close them in any order, and this one outside of a step.
    """
    _alive.add(generator)
    try:
        yield generator
    finally:
        _alive.discard(generator)


def _begun(generator: AsyncGenerator[T, Any]) -> Awaitable[T]:
    """Begin an async generator that the event loop does not know, and so never closes itself.

    It closes those that nobody has closed, and would do so outside of a step.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)
