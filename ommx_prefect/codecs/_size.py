"""Limit the number of values in one JSON text: shared parts are written once for each use.

Thirty tuples, each of which holds the one before twice, are a billion values in JSON. They are
counted before they are written, by each object once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any

# As much text as some gigabytes of memory hold; numbers in such a quantity belong into an array.
MOST_VALUES = 20_000_000
# Of a model that holds something twice: pydantic makes an object of each value that it writes.
MOST_IN_MODEL = 1_000_000
# A part is converted once, wherever it is; smaller ones again each time, so that few are kept.
WORTH_KEEPING = 64
# From this count on, containers are looked at more closely.
MANY = 500_000
# How deep pydantic goes.
DEEPEST_MODEL = 256


class TooManyValuesError(ValueError):
    """A value would become more JSON than is written."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        super().__init__(f"too large to be JSON: more than {most:,} values")


class Budget:
    """How many values of one JSON text may still be written, and what was converted for it."""

    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._known: dict[tuple[int, int], tuple[Any, Any, int]] = {}

    def spend(self, count: int) -> None:
        """Count values; TooManyValuesError where they are too many."""
        self._left -= count
        if self._left < 0:
            raise TooManyValuesError

    def once(self, value: Any, depth: int, convert: Callable[[], Any]) -> Any:
        """Return what a value becomes at a depth, which is converted once and counted each time."""
        known = self._known.get((id(value), depth))
        if known is not None:
            self.spend(known[2])
            return known[1]
        before = self._left
        converted = convert()
        if (size := before - self._left) >= WORTH_KEEPING:
            self._known[id(value), depth] = value, converted, size  # it lives as long as its id
        return converted


def are_few_objects(*containers: Collection[Any]) -> bool:
    """Tell whether many containers are in fact a few objects that are used repeatedly."""
    count = sum(map(len, containers))
    return count > MANY and len(set(map(id, chain(*containers)))) < count // 1_000


def size_written(top: int, members: Mapping[int, Collection[Any]]) -> int:
    """Return how many values a model's own serializer would write.

    Args:
        top: The id of the model.
        members: What each object in it holds, by its id.

    Raises:
        TooManyValuesError: They are too many.
    """
    level, total = Counter({top: 1}), 0
    for _ in range(DEEPEST_MODEL):
        below: Counter[int] = Counter()
        for key, times in level.items():
            for member in members[key]:
                below[id(member)] += times
        total += below.total()
        if total > MOST_IN_MODEL:
            raise TooManyValuesError(MOST_IN_MODEL)
        level = below
    return total
