"""How a wrapper passes for the function it wraps, wherever Prefect looks at a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeVar

T = TypeVar("T")


def kind_of(fn: object, kinds: Mapping[Callable[[Any], bool], T]) -> T:
    """Return the first of the kinds whose test applies.

    Raises:
        TypeError: None does: `fn` cannot be called.
    """
    for applies, kind in kinds.items():
        if applies(fn):
            return kind
    raise TypeError(f"{fn!r} cannot be called")


def passing_for(wrapper: Callable[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the wrapper with the name, the globals and, among its constants, the code of `fn`.

    Prefect resolves annotations in the globals of a flow's function. It tells tasks of one name
    apart by a hash of the function's code, which for wrappers would be one and the same: `delay()`
    would then run the wrong task, silently.

    Args:
        wrapper: A function that uses closure variables and builtins, and no globals.
        fn: A function, a bound method, a partial, or an object that can be called.
    """
    inner = function_of(fn)
    if inner is None or not isinstance(wrapper, FunctionType):
        return wrapper
    code = wrapper.__code__
    code = code.replace(co_consts=(*code.co_consts, inner.__code__))
    name = getattr(fn, "__name__", type(fn).__name__)
    found = FunctionType(code, inner.__globals__, name, None, wrapper.__closure__)
    found.__qualname__ = type(fn).__qualname__
    return functools.update_wrapper(found, fn)


def function_of(fn: object) -> FunctionType | None:
    """Return the Python function that runs when something is called, if there is one."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    fn = getattr(fn, "__func__", fn)
    if isinstance(fn, FunctionType):
        return fn
    called = vars(type(fn)).get("__call__")
    return called if isinstance(called, FunctionType) else None
