"""What a place that many hosts share has to be able to do: hold objects under names."""

from __future__ import annotations

from typing import Protocol

# How many objects are read or removed at a time.
READERS = 8


class Remote(Protocol):
    """Objects under names such as `<owner>/shards/<key>`, the same from every host.

    Every method raises `StageError` where the place does not answer, and shows no credentials.
    """

    def write(self, name: str, data: bytes) -> None:
        """Store an object, seen whole or not at all; it may be there already."""

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix, a folder with its slash."""

    def remove(self, name: str) -> None:
        """Remove an object, where it is there."""
