"""Functions whose tasks are compared: decorated by Prefect's own decorators, and by ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any


def double(x):
    """Return twice the number."""
    return 2 * x


async def later(x):
    return 2 * x


def numbers(n):
    yield from range(n)


async def later_numbers(n):
    for x in range(n):
        yield x


def nested(x):
    def inner(y):
        return x + y

    return inner(x) + (lambda z: z + 1)(x)


def leave_a_mark(path):
    Path(path).write_text("made")


class Plant:
    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def produce(self, x):
        return x * self.factor

    @staticmethod
    def count(x):
        return x + 1

    @classmethod
    def named(cls, x):
        return cls.__name__ * x

    def __call__(self, x):
        return x * self.factor


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of somebody's."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def same_name(value):
    if value == "A":

        def same():
            return "A"
    else:

        def same():
            return "B"

    return same


def without_source(expression: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(f"def made(x):\n    return {expression}", namespace)
    return namespace["made"]  # type: ignore[no-any-return]


# Whatever can be a task and is told apart by plain Prefect.
FUNCTIONS: dict[str, Any] = {
    "function": double,
    "coroutine": later,
    "generator": numbers,
    "async generator": later_numbers,
    "nested functions": nested,
    "lambda": lambda x: x + 1,
    "method of a class": Plant.produce,
    "bound method": Plant(3).produce,
    "static method": vars(Plant)["count"],
    "class method": vars(Plant)["named"],
    "object": Plant(4),
    "decorated": logged(double),
    "closure A": same_name("A"),
    "closure B": same_name("B"),
    "without source": without_source("x + 1"),
    "other without source": without_source("x + 2"),
}
