"""Make a wrapper look like the function it wraps, wherever Prefect inspects a function.

| Prefect looks at | and finds |
|---|---|
| name, signature, docstring, annotations and their globals | the function's |
| task key (which task a worker runs) and source code (a part of cache keys) | what plain Prefect \
has for the function |

Prefect 3.9 asks a wrapper for its function (`__prefect_task_source__`). On 3.8 a task of ours is
told both, and a wrapper under a plain `@prefect.task` has a key of its own, by its function's code.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, TypeVar

from prefect import cache_policies, tasks
from prefect.utilities.hashing import hash_objects

T = TypeVar("T")

# The function that a wrapper stands for: Prefect's name for it (from 3.9 on), and ours. A decorator
# that copies attributes copies them as well, so both hold only where `__wrapped__` is the same.
PREFECT_SOURCE = "__prefect_task_source__"
SOURCE = "__ommx_prefect_source__"
KEY_DIGITS = 8


def kind_of(fn: object, kinds: Mapping[Callable[[Any], bool], T]) -> T:
    """Return the wrapper factory for a function's kind: sync, async, or a generator.

    Raises:
        TypeError: None does: `fn` cannot be called.
    """
    for applies, kind in kinds.items():
        if applies(fn):
            return kind
    raise TypeError(f"{fn!r} cannot be called")


def passing_for(wrapper: Callable[..., Any], fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the wrapper with the name, the globals and, among its constants, the code of `fn`.

    Prefect resolves annotations in the globals of a flow's function. Prefect 3.8 tells tasks of one
    name apart by a hash of the function's code, which for wrappers would be one and the same:
    `delay()` would then run the wrong task, silently.

    Args:
        wrapper: A function that uses closure variables and builtins, and no globals.
        fn: A function, a bound method, a partial, or an object that can be called.
    """
    setattr(wrapper, SOURCE, fn)
    inner = function_of(fn)
    if inner is None or not isinstance(wrapper, FunctionType):
        return wrapper
    found: Callable[..., Any]
    code = wrapper.__code__
    code = code.replace(co_consts=(*code.co_consts, inner.__code__))
    name = getattr(fn, "__name__", type(fn).__name__)
    found = FunctionType(code, inner.__globals__, name, None, wrapper.__closure__)
    found.__qualname__ = type(fn).__qualname__
    functools.update_wrapper(found, fn)
    setattr(found, SOURCE, fn)
    if hasattr(fn, "__qualname__"):  # of partials and objects Prefect knows the class alone
        setattr(found, PREFECT_SOURCE, fn)
    return found


def user_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a wrapper of this package wraps; any other function as it is."""
    source: Callable[..., Any] | None = getattr(fn, SOURCE, None)
    is_ours = source is getattr(fn, "__wrapped__", None)
    return source if source is not None and is_ours else fn


def is_function_of(outer: Any, fn: Callable[..., Any]) -> bool:
    """Tell whether a function is `fn`, or wraps it by a chain of `__wrapped__`."""
    while outer is not None:
        if outer is fn:
            return True
        outer = getattr(outer, "__wrapped__", None)
    return False


def function_of(fn: object) -> FunctionType | None:
    """Return the Python function that runs when something is called, if there is one."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    fn = getattr(fn, "__func__", fn)
    if isinstance(fn, FunctionType):
        return fn
    called = vars(type(fn)).get("__call__")
    return called if isinstance(called, FunctionType) else None


def task_key_of(fn: Callable[..., Any]) -> str | None:
    """Return the key that plain Prefect gives a task of this function; None where it refuses it.

    All partials are one to Prefect: of those, the key tells function and arguments.
    """
    if not isinstance(fn, functools.partial):
        try:
            return tasks._generate_task_key(fn)
        except AttributeError:  # a builtin function
            return None
    inner = function_of(fn)
    digest = hash_objects(inner and inner.__code__, fn.args, fn.keywords)
    name = getattr(inner, "__name__", type(fn).__name__)
    return f"{name}-{digest[:KEY_DIGITS] if digest else 'unknown'}"


def source_code_of(fn: Callable[..., Any]) -> Any:
    """Return what makes a task's cache key equal to that of plain Prefect for this function.

    Prefect hashes the source, that of its class where the function is an object, and the byte code
    where there is no source. All partials are one to it here as well.
    """
    if isinstance(fn, functools.partial):
        return f"{source_code_of(fn.func)} {fn.args!r} {fn.keywords!r}"
    for found in (fn, type(fn)):
        with contextlib.suppress(TypeError, OSError):
            return inspect.getsource(found)
    code = getattr(fn, "__code__", None) or getattr(function_of(fn), "__code__", None)
    without_lines = getattr(cache_policies, "_normalize_code_location", None)  # from 3.9 on
    return code and (without_lines(code) if without_lines else code.co_code)
