"""The interface of a store that many hosts share: it holds objects, among them shards.

`Store` is what somebody writes for a place of their own: four methods over bytes. `ShardStore` is
what a shared stage needs. `ArchiveStore` makes the one of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ommx_prefect._shards.archive import ShardAndPayload
from ommx_prefect._shards.shard import Shard
from ommx_prefect.exceptions import StageError

# How many objects are read or removed at a time.
READERS = 8
# Where a store keeps several records in one object; it lists them, and the object if it is damaged.
GROUPS = "groups"


class GoneError(StageError):
    """An object is not there, though it was: another seal may be removing what it holds."""


class Store(Protocol):
    """Objects under names such as `<flow run id>/shards/<key>`, the same from every host.

    Names are made of letters, digits, dots and dashes, with slashes between their parts. Many
    threads call a store at once. Where the place does not answer, every method raises an error
    (`StageError`, or any other) whose message shows no credentials.
    """

    def write(self, name: str, data: bytes) -> None:
        """Store an object, seen whole or not at all; it may be there already."""

    def read(self, name: str) -> bytes:
        """Return an object's bytes; raise an error where it is not there."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix, a folder with its slash.

        What any host has written before is among them.
        """

    def remove(self, name: str) -> None:
        """Remove an object, where it is there."""


class ShardStore(Protocol):
    """What a shared stage needs of its place. Every method raises `StageError` if that is away.

    Attributes:
        name: The place, as `ommx_prefect.flow` takes it.
    """

    name: str

    def await_answer(self) -> None:
        """Wait for a place that does not answer, as long as a seal can wait."""

    def write(self, name: str, data: bytes) -> None:
        """Store a JSON document."""

    def read(self, name: str) -> bytes:
        """Return a JSON document, or the bytes of a shard that `unpack` takes."""

    def raw(self, name: str) -> bytes:
        """Return an object as it is stored, unchecked; damaged ones are kept as found."""

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix."""

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects, where they are there."""

    def put_shard(self, name: str, shard: Shard, find: Callable[[str], Path]) -> None:
        """Store a shard with its payload; `find` returns the file with a digest."""

    def unpack(self, data: bytes, root_flow_run_id: str, key: str) -> ShardAndPayload:
        """Check a shard that was read, and return it, and the payload that came with it by digest.

        Raises:
            DocumentError: It is damaged, or another's.
        """

    def fetch(
        self, digest: str, target: Path, image_name: str = "", size: int | None = None
    ) -> None:
        """Write a payload that did not come with its shard into a file.

        Args:
            digest: Its `sha256:<hex>`.
            target: The file.
            image_name: The experiment that has it, where the shard has gone.
            size: The bytes that it has, where they are known; more are not taken.

        Raises:
            GoneError: It is not there.
        """

    def serves(self, image_name: str) -> bool:
        """Tell whether experiments of a name can be composed where the payload is."""
