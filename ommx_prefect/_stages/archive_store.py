"""Hold shards in any store of objects: each as one archive, with all of its payload.

Whoever seals gets the payload with the record, so nothing is fetched later, and no experiment is
composed there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ommx_prefect._registry.blobs import checked_pieces
from ommx_prefect._shards.archive import ShardAndPayload, open_archive, pack_archive
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.signing import Signer
from ommx_prefect._stages.store import READERS, GoneError, Store
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError, StageError


class ArchiveStore:
    """The shards of flow runs in a store of objects.

    Args:
        name: The place, as `ommx_prefect.flow` takes it.
        open_store: Opens the store, or returns the one that is open.
        reopen: Called after an error: a block may have got new credentials.
        signer: Returns what signs the objects.
    """

    def __init__(
        self,
        name: str,
        open_store: Callable[[], Store],
        reopen: Callable[[], None] = lambda: None,
        signer: Callable[[], Signer] = Signer,
    ) -> None:
        self.name = name
        self._open, self._reopen, self._signer = open_store, reopen, signer

    def await_answer(self) -> None:
        """Return at once: a store of objects raises at once while it is away."""

    def write(self, name: str, data: bytes) -> None:
        """Store an object."""
        signed = self._signer().signed(name, data)
        with self._opened(f"write {name}") as store:
            store.write(name, signed)

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        return self._signer().opened(name, self.raw(name))

    def raw(self, name: str) -> bytes:
        """Return an object's bytes as they are stored, unchecked."""
        with self._opened(f"read {name}") as store:
            return store.read(name)

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix."""
        with self._opened(f"list {prefix}") as store:
            return sorted(store.names(prefix))

    def remove_all(self, names: Sequence[str]) -> None:
        """Remove objects, where they are there."""
        with self._opened("remove the records") as store, ThreadPoolExecutor(READERS) as pool:
            list(pool.map(store.remove, names))

    def put_shard(self, name: str, shard: Shard, find: Callable[[str], Path]) -> None:
        """Store a shard and its payload as one archive."""
        self.write(name, pack_archive(shard, lambda digest: checked_pieces(find(digest), digest)))

    def unpack(self, data: bytes, root_flow_run_id: str, key: str) -> ShardAndPayload:
        """Read an archive, and check all of it."""
        return open_archive(data, root_flow_run_id, key)

    def fetch(
        self, digest: str, target: Path, image_name: str = "", size: int | None = None
    ) -> None:
        """Raise GoneError: payload comes with its shard, and never by itself."""
        raise GoneError(self.name, f"blob {digest} is not on this host, nor in a shard of it")

    def serves(self, image_name: str) -> bool:
        """Return False: no experiment is composed in a store of objects."""
        return False

    @contextlib.contextmanager
    def _opened(self, what: str) -> Iterator[Store]:
        try:
            yield self._open()
        except DocumentError:
            raise
        except StageError:
            self._reopen()
            raise
        except Exception as error:
            self._reopen()
            raise StageError(self.name, f"could not {what}: {describe_error(error)}") from error
