"""The interface of a stage: where the shards of one flow run wait to be sealed.

| class | where | what comes to the host that seals |
|---|---|---|
| `LocalStage` | a directory beside the Local Registry | nothing: it is there |
| `SharedStage` over an `ArchiveStore` | a storage block, or somebody's own store | all |
| `SharedStage` over an `OciStore` | a repository of an OCI registry | records; payload if need be |

Whatever the place, a seal works on a directory of its own host, `path`. A shared stage has a local
one, into which it brings what waits elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ommx_prefect._format.model import Descriptor, Documents
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

E = TypeVar("E", bound=BaseException)


class Stage(Protocol):
    """The stage of one flow run.

    Attributes:
        flow_run_id: Id of the flow run whose experiment is recorded; of the task run outside flows.
        name: The place, as `ommx_prefect.flow` takes it.
        path: The directory of this host in which the flow run is sealed.
    """

    flow_run_id: str
    name: str
    path: Path

    # ------------------------------------------------------------ what attempts do

    def begin(self, attempt: Attempt) -> None:
        """Write the start record of an attempt."""

    def put(self, shard: Shard, directory: str = ...) -> str | None:
        """Make a shard durable with its payload; return why it is in another place, or None."""

    def share_checkpoint(self, checkpoint: Shard) -> str | None:
        """Send a checkpoint of this host to the shared place; return the problem, or None."""

    def pin(self, layers: Collection[Descriptor]) -> None:
        """Make the payload of staged records available to the seal."""

    def pin_sealed(self, documents: Documents) -> None:
        """Make the payload of an earlier seal of this flow run available."""

    def pinned(self, digest: str) -> Path:
        """Return this host's file of a payload, or None."""

    def bring(self, digest: str, size: int | None = None) -> Path:
        """Return a file with a payload, fetched where this host does not have it.

        Args:
            digest: Its `sha256:<hex>`.
            size: The bytes that its descriptor states; more are not fetched.
        """

    # ------------------------------------------------------------ documents

    def read(self, name: str) -> dict[str, Any] | None:
        """Read a JSON document, or return None."""

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a JSON document, whole or not at all, for all hosts that need it."""

    def has(self, *names: str) -> bool:
        """Tell whether all of these documents are here."""

    def remove(self, name: str) -> None:
        """Remove a document, where it is here."""

    def is_own(self) -> bool:
        """Tell whether this host wrote the record of the flow run, which says how it is named."""

    def listed(self, directory: str) -> dict[str, dict[str, Any]]:
        """Read a directory of JSON documents by name."""

    def exists(self) -> bool:
        """Tell whether a flow run has left anything, here or elsewhere."""

    # ------------------------------------------------------------ what a seal does

    def locked(self) -> AbstractContextManager[None]:
        """Lock the stage against every other process of this host that seals it."""

    def collect(self, sealed: Collection[str]) -> None:
        """Copy unsealed records from the shared place to this host."""

    def shards(self, directory: str = ...) -> list[Shard]:
        """Read all shards that are here, in order of start."""

    def each_shard(self, directory: str = ...) -> Iterator[Shard]:
        """Yield the shards that are here in any order: 10^5 of them are not to be held at once."""

    def starts(self) -> list[Attempt]:
        """Read the start records that are here of attempts without a shard, in order of start."""

    def add_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a payload blob of our own."""

    def discard(self, keys: Iterable[str]) -> None:
        """Remove shards that a verified seal holds; later ones stay."""

    def discard_starts(self, keys: Iterable[str]) -> None:
        """Remove start records; a shard that comes later stays."""

    def serves(self, image_name: str) -> bool:
        """Tell whether the stage is in the registry of an image name."""

    def release(self) -> None:
        """Remove the records in the shared place that a finished seal holds."""

    def is_released(self) -> bool:
        """Tell whether a finished seal of another host has removed the records."""


# What reading a document of another shape raises.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError)


# Of what is wrong with a file, before what can be done about it.
REASON_LETTERS = 1000


def damaged(path: Path, error: Exception) -> DocumentError:
    """Return the error that says which file of a stage is damaged, and what to do."""
    if isinstance(error, UnknownFormatError):
        return UnknownFormatError(f"{path}: {error.reason[:REASON_LETTERS]}")
    found = error.reason if isinstance(error, DocumentError) else describe_error(error)
    reason = found[:REASON_LETTERS]
    what = f"{path} is damaged: {reason}"
    return DocumentError(f"{what}. Restore it, or move it away to go on without it")


def without_frames(error: E) -> E:
    """Drop the frames of an error and its causes: they keep all that was read in memory."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error


@contextlib.contextmanager
def well_formed(stage: Stage, name: str) -> Iterator[None]:
    """Raise DocumentError where a document of a stage has not the shape that the block expects."""
    try:
        yield
    except MALFORMED as error:
        raise damaged(stage.path / name, error) from error
