"""A thread-safe dict of limited size that drops its oldest entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from ommx_prefect._memory.forks import process_lock

K = TypeVar("K")
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """A table of limited size, for processes that run many flow runs for months.

    Args:
        most: How many entries it keeps.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[K, V] = {}
        self._lock = process_lock()

    def __setitem__(self, key: K, value: V) -> None:
        self.update({key: value})

    def __iter__(self) -> Iterator[K]:
        with self._lock:
            return iter(list(self._found))

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: K) -> V | None:
        """Return what is known under a key, or None."""
        return self._found.get(key)

    def update(self, entries: Mapping[K, V]) -> None:
        """Remember several entries."""
        with self._lock:
            self._found.update(entries)
            while len(self._found) > self._most:
                del self._found[next(iter(self._found))]

    def forget(self, key: K) -> None:
        """Let go of an entry, if there is one."""
        with self._lock:
            self._found.pop(key, None)
