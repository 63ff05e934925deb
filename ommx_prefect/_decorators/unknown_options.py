"""Refuse unknown options of the decorators, with the name that was probably meant."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def refuse_unknown(
    decorator: str,
    given: Iterable[str],
    own: Collection[str],
    prefects: Callable[..., Any] | None = None,
    besides: str = "",
) -> None:
    """Raise TypeError for an option that neither this package nor Prefect has.

    Args:
        decorator: How the decorator is called, for the message.
        given: The names of the options.
        own: Those that are ours.
        prefects: The function of Prefect's that takes others by keyword, if one does.
        besides: What is said of Prefect's options.
    """
    others = inspect.signature(prefects).parameters if prefects is not None else ()
    known = {*own, *others} - {"self", "fn"}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
            meant = f" Did you mean {near[0]}=?" if near else ""
            has = ", ".join(f"{x}=" for x in own)
            raise TypeError(f"{decorator} has no option {name}=.{meant} It has {has}{besides}.")


def with_known_options(besides: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function that takes no option of Prefect's refuse those that it does not have.

    Args:
        besides: Where Prefect's options go, for the message.
    """

    def refusing(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters.values()
        own = [x.name for x in parameters if x.kind is not x.POSITIONAL_ONLY]

        @functools.wraps(function)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            refuse_unknown(function.__name__, options, own, besides=besides)
            return function(*args, **options)

        return checked

    return refusing


def refuse_text(decorator: str, fn: object) -> None:
    """Raise TypeError where a text was given in place of the function."""
    if isinstance(fn, str):
        raise TypeError(
            f"@{decorator}({fn!r}) has a text where the function belongs; write "
            f"@{decorator}(name={fn!r})"
            + (f", or experiment={fn!r} for its image name" if decorator == "flow" else "")
        )


def refuse_no_switch(option: str, value: object, *others: object) -> None:
    """Raise TypeError where an option is neither True nor False: a text would count as True.

    Args:
        option: Its name, for the message.
        value: What was given.
        others: What it takes besides.
    """
    if isinstance(value, bool) or value in others:
        return
    taken = " nor ".join(map(repr, (True, False, *others)))
    raise TypeError(f"{option}={value!r} is neither {taken}")
