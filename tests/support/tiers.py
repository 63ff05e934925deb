"""Mark the cases of a test that are further runners, places or kinds of what runs anyhow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest


def full(*cases: object) -> Iterator[object]:
    """Return cases for `parametrize` that run with `--full` only."""
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        yield pytest.param(*values, marks=pytest.mark.full)


def some(names: Iterable[str], usual: Iterable[str]) -> list[object]:
    """Return all names as cases, of which those that are not usual run with `--full` only."""
    known = set(usual)
    return [name if name in known else next(full(name)) for name in names]
