"""How a generator is recorded: its Run is the current one only while its own code runs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Steps(Protocol):
    """What watches the steps of a generator: a `Recording`, or `Unwatched`."""

    def active(self) -> AbstractContextManager[None]:
        """Return what every step of the generator runs in."""

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


def relayed(steps: Steps, generator: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
    """Run a generator as `yield from` does, each step of it watched."""

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
        result: T = stop.value
        return result


def relaying(
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

    @functools.wraps(fn)
    async def recorded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with opened() as steps:
            generator = fn(*args, **kwargs)

            async def step(advance: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
                with steps.active():
                    return steps.yielded_value(await advance(*arguments))

            try:
                value = await step(generator.__anext__)
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
