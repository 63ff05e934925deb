"""Many small cases in one test, whose fixtures would cost more than each case."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[..., None]


def each(names: str, cases: Iterable[Any]) -> Callable[[Test], Test]:
    """Run a test for each case, as `pytest.mark.parametrize` does, and name the one that fails."""
    own = [name.strip() for name in names.split(",")]
    found = list(cases)

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def looped(**fixtures: Any) -> None:
            for case in found:
                values = (case,) if len(own) == 1 else case
                try:
                    test(**dict(zip(own, values, strict=True)), **fixtures)
                except BaseException as error:
                    raise AssertionError(f"for {names} = {case!r:.200}") from error

        signature = inspect.signature(test)
        kept = [p for name, p in signature.parameters.items() if name not in own]
        looped.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return looped

    return decorate
