"""What of the tests runs by default, and what runs first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
# What takes minutes, the longest first: whoever began with it last would be waited for by all.
LONGEST = (
    *("flows/test_three_nights.py", "decorators/test_runners.py", "flows/test_benchmark_script.py"),
    *("security/test_fuzz_stages.py", "crash/test_crashes.py"),
    *("compatibility/test_release_0_1_0.py", "recovery/test_recover.py", "cli/test_seal.py"),
    *("documents/test_pages_run.py", "sealing/test_night_before.py"),
    *("decorators/test_processes.py", "solvers/test_killed_solves.py", "values/test_secrets.py"),
    *("stages/test_stores.py", "reporting/test_writes.py", "recovery/test_command.py"),
)


def full(*cases: object) -> Iterator[object]:
    """Return cases for `parametrize` that run with `--full` only."""
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        yield pytest.param(*values, marks=pytest.mark.full)


def some(names: Iterable[str], usual: Iterable[str]) -> list[object]:
    """Return all names as cases, of which those that are not usual run with `--full` only."""
    known = set(usual)
    return [name if name in known else next(full(name)) for name in names]


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests by file: those that take minutes, then by tests with servers, the most first."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    if gone := [path for path in places if not path.exists()]:
        raise pytest.UsageError(f"LONGEST names a file that is not there: {gone[0]}")
    waiting = Counter(item.path for item in items if item.get_closest_marker("server"))

    def order(item: pytest.Item) -> tuple[int, int, Path]:
        return places.get(item.path, len(places)), -waiting[item.path], item.path

    items.sort(key=order)
