"""Hold shards in a Prefect storage block, by its own methods and a listing for its kind.

`WritableFileSystem` has `read_path` and `write_path`, and neither a listing nor a removal. A seal
has to find what it does not know the name of, so `KINDS` says how the known kinds of block do it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from prefect.filesystems import WritableFileSystem
from prefect.utilities.asyncutils import run_coro_as_sync

from ommx_prefect._registry.files import (
    SHARED_FOLDER,
    make_folder,
    read_regular,
    write_durable,
)
from ommx_prefect._stages.store import Store
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import DocumentError, StageError


class BlockStore:
    """Objects in a storage block; `read` and `write` are those of every `WritableFileSystem`.

    Args:
        stage: The block as the user named it, `type-slug/name`.
        block: The block.
    """

    def __init__(self, stage: str, block: Any) -> None:
        self.stage, self.block = stage, block
        password = urlsplit(str(getattr(block, "basepath", None) or "")).password
        self._redact = Redactor({"b": block, "f": block.model_dump(), "password": password})

    def write(self, name: str, data: bytes) -> None:
        """Store an object."""
        with self._translated(f"write {name}"):
            settled(self.block.write_path(name, content=data))

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        with self._translated(f"read {name}"):
            return bytes(settled(self.block.read_path(name)))

    def names(self, prefix: str) -> list[str]:
        """Return the names of all objects that begin with the prefix."""
        with self._translated(f"list {prefix}"):
            # The block puts its own folder before the names.
            return sorted(key[key.index(prefix) :] for key in self._keys(prefix))

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._translated(f"remove {name}"):
            self._remove(name)

    def _keys(self, prefix: str) -> list[str]:
        raise NotImplementedError

    def _remove(self, name: str) -> None:
        raise NotImplementedError

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except DocumentError:  # what is there is no file
            raise
        except Exception as error:
            reason = (
                f"could not {self._redact.text(what)}: {describe_error(error, self._redact.text)}"
            )
            # Not `from error`: its text would show in the traceback, credentials and all.
            raise StageError(self.stage, reason) from None


class FolderStore(BlockStore):
    """`prefect.filesystems.LocalFileSystem`: a folder, on a disk that the hosts share."""

    def __init__(self, stage: str, block: Any) -> None:
        super().__init__(stage, block)
        if not block.basepath:
            raise StageError(stage, "the block has no basepath, so each process has its own")
        self._folder = Path(block.basepath).expanduser().resolve()

    def write(self, name: str, data: bytes) -> None:
        """Store an object; the block's own method would show it half written."""
        with self._translated(f"write {name}"):
            for times_left in (2, 1, 0):
                try:
                    with self._folder_of(name, is_made=True) as folder:
                        write_durable(os.path.basename(name), data, shared=True, folder=folder)
                    return
                except FileNotFoundError:  # another host has removed the empty folder meanwhile
                    if not times_left:
                        raise

    def read(self, name: str) -> bytes:
        """Return an object's bytes; the block's own method would wait for a pipe."""
        with self._translated(f"read {name}"), self._folder_of(name) as folder:
            return read_regular(os.path.basename(name), owned=False, fits=True, folder=folder)

    def _keys(self, prefix: str) -> list[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError), self._folder_of(prefix):
            pass  # `os.walk` follows a link at which it begins, and no other
        return [
            (Path(folder) / file).relative_to(self._folder).as_posix()
            for folder, _, files in os.walk(self._folder / prefix, onerror=_raise_if_there)
            for file in files
            if file[0] != "."  # being written
        ]

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError), self._folder_of(name) as folder:
            os.unlink(os.path.basename(name), dir_fd=folder)
        with contextlib.suppress(OSError):  # not empty, or being filled
            for above in (self._folder / name).parents:
                if above == self._folder:  # which is not ours
                    break
                above.rmdir()  # of a link, an error

    @contextlib.contextmanager
    def _folder_of(self, name: str, *, is_made: bool = False) -> Iterator[int]:
        """Open the folder of an object; whoever writes there may have put a link in its place.

        Args:
            name: The object.
            is_made: Whether to make folders that are missing.
        """
        if is_made:
            make_folder(self._folder, SHARED_FOLDER)
        number = os.open(self._folder, os.O_DIRECTORY)
        try:
            for part in name.split("/")[:-1]:
                if is_made:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, SHARED_FOLDER, dir_fd=number)
                above, number = number, _open_folder(part, number, self._folder / name)
                os.close(above)
            yield number
        finally:
            os.close(number)


def _open_folder(name: str, above: int, path: Path) -> int:
    try:
        return os.open(name, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotADirectoryError(f"{name} in {path} is a link, or no folder") from error
        raise


def _raise_if_there(error: OSError) -> None:
    """Raise an error that `os.walk` ignores: a folder that cannot be listed is not empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


class S3Store(BlockStore):
    """`prefect_aws.S3Bucket`, with the credentials of AWS or MinIO."""

    def _keys(self, prefix: str) -> list[str]:
        return [found["Key"] for found in settled(self.block.list_objects(prefix))]

    def _remove(self, name: str) -> None:
        key = (Path(self.block.bucket_folder) / name).as_posix()
        client = self.block.credentials.get_s3_client()
        client.delete_object(Bucket=self.block.bucket_name, Key=key)


class FsspecStore(BlockStore):
    """`prefect.filesystems.RemoteFileSystem`: whatever fsspec opens (gs, az, s3, sftp, ...)."""

    def _keys(self, prefix: str) -> list[str]:
        files = self.block.filesystem
        files.invalidate_cache()  # other hosts write meanwhile
        try:
            return list(files.find(self._path(prefix)))
        except FileNotFoundError:
            return []
        finally:
            files.invalidate_cache()  # and may replace a checkpoint before it is read

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.block.filesystem.rm(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.block.basepath.rstrip('/')}/{name}"


# Block type slug -> how such a block is used.
KINDS: dict[str, type[BlockStore]] = {
    "local-file-system": FolderStore,
    "remote-file-system": FsspecStore,
    "s3-bucket": S3Store,
}


@functools.lru_cache(maxsize=64)
def open_block_store(stage: str) -> Store:
    """Load a block, once per process: in a thread of its own Prefect's settings may be missing.

    Raises:
        StageError: There is no such block, or it cannot hold a stage.
    """
    block = load_block(stage, stage)
    kind = KINDS.get(type(block).get_block_type_slug())
    if not isinstance(block, WritableFileSystem) or kind is None:
        reason = f"a seal cannot list what a {type(block).__name__} holds"
        raise StageError(stage, f"{reason}. Use a block of the type {', '.join(KINDS)}")
    return kind(stage, block)


def load_block(stage: str, name: str) -> Any:
    """Load the block of a stage, or of its credentials.

    Raises:
        StageError: There is no such block, or it cannot be read.
    """
    try:
        return settled(Block.load(name))
    except Exception as error:
        reason = f"the block {name} cannot be loaded ({describe_error(error).rstrip('.')})"
        raise StageError(
            stage, f"{reason}. Save it first, or choose one of `prefect block ls`"
        ) from None


def settled(value: Any) -> Any:
    """Return the result of a block's method, which is a coroutine in an async context."""
    return run_coro_as_sync(value) if inspect.iscoroutine(value) else value
