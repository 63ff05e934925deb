"""Set damaged records aside, so that the rest of a flow run can be sealed without them.

    <stage>/quarantine/shards.<key>            as it was found
    <stage>/quarantine/shards.<key>.reported   the same, once an experiment tells of it
    <stage>/quarantine/shards.<key>+2          what was found under that name later

Nothing is thrown away: who can mend a record puts it where it was, and it is sealed as ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ommx_prefect._registry.blobs import PIECE_BYTES
from ommx_prefect._registry.files import make_folder, open_regular, write_whole
from ommx_prefect._shards.names import RecordKey
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import CHECKPOINTS, KINDS, QUARANTINE, SHARDS, STARTS
from ommx_prefect._stages.files import entries_in, is_of_size
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.store import GROUPS
from ommx_prefect.exceptions import DocumentError

REPORTED = ".reported"
# In no key of a record.
NEXT = "+"
# Records that stand for an attempt, which gets a Run though they are damaged.
OF_ATTEMPTS = (STARTS, SHARDS, CHECKPOINTS)
# What keeps its name, with a dot for the slash.
_NAMED = frozenset({*KINDS, GROUPS})
_KEY = re.compile(r"(?P<task_run_id>.+)-(?P<attempt>\d{1,9})-(?P<nonce>[^-]+)")


class Quarantine:
    """The damaged records of one flow run.

    Args:
        stage: Its stage.
    """

    def __init__(self, stage: Stage) -> None:
        self.flow_run_id = stage.flow_run_id
        self.folder = stage.path / QUARANTINE

    def keep(self, name: str, data: bytes) -> None:
        """Set the bytes of a damaged object aside, `shards/<key>`, or whatever it is called."""
        if not self.holds(name, data):
            write_whole(self._free(name), data, durable=True)

    def move(self, path: Path, name: str) -> None:
        """Set a damaged file, or folder of a checkpoint, aside."""
        make_folder(self.folder)
        os.replace(path, self._free(name))

    def holds(self, name: str, data: bytes) -> bool:
        """Tell whether an object was set aside as it is now; one that was mended is another."""
        for each in self._all_of(name):
            with contextlib.suppress(OSError, DocumentError):
                if is_of_size(each, len(data)) and _has_bytes(each, data):
                    return True
        return False

    def _all_of(self, name: str) -> Iterator[Path]:
        """Yield all that was set aside under a name."""
        for path in self._places(name):
            found = [x for x in (path, path.with_name(path.name + REPORTED)) if os.path.lexists(x)]
            if not found:
                return
            yield from found

    def _free(self, name: str) -> Path:
        """Return a path at which nothing was set aside yet."""
        used = {path.name.removesuffix(REPORTED) for path in self._all_of(name)}
        return next(path for path in self._places(name) if path.name not in used)

    def _places(self, name: str) -> Iterator[Path]:
        first = self.folder / _file_name(name)
        yield first
        yield from (first.with_name(f"{first.name}{NEXT}{x}") for x in itertools.count(2))

    def names(self) -> list[str]:
        """Return the names of records set aside that no experiment mentions yet."""
        found = {path.name.partition(NEXT)[0] for path in self._unreported()}
        return sorted(x.replace(".", "/", 1) if _is_of_kind(x) else x for x in found)

    def _unreported(self) -> list[Path]:
        return [path for path in entries_in(self.folder) if not _is_reported(path.name)]

    def attempts(self) -> list[Attempt]:
        """Return the attempts whose records were set aside, as far as the file names tell."""
        keys = {x.partition("/")[2] for x in self.names() if x.partition("/")[0] in OF_ATTEMPTS}
        found = (self._attempt(key) for key in sorted(keys))
        return [attempt for attempt in found if attempt is not None]

    def _attempt(self, key: str) -> Attempt | None:
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        attempt = Attempt(
            root_flow_run_id=self.flow_run_id,
            flow_run_id=self.flow_run_id,
            flow_attempt=1,
            task_run_id="" if parts["task_run_id"] == "run" else parts["task_run_id"],
            task="",
            task_run="",
            attempt=int(parts["attempt"]),
            nonce=parts["nonce"],
            started_at=0.0,
            host="",
            pid=0,
        )
        return attempt if attempt.key == key else None

    def report(self) -> None:
        """Mark all records set aside as reported in an experiment."""
        for path in self._unreported():
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, path.with_name(path.name + REPORTED))


def _has_bytes(path: Path, data: bytes) -> bool:
    """Tell whether a file has these bytes, of which only a piece is read at a time."""
    with open_regular(path) as file, memoryview(data) as wanted:
        pieces = range(0, len(data), PIECE_BYTES)
        return all(file.read(PIECE_BYTES) == wanted[x : x + PIECE_BYTES] for x in pieces)


def _file_name(name: str) -> str:
    """Return a plain file name for whatever an object is called."""
    kind, is_record, key = name.partition("/")
    with contextlib.suppress(DocumentError):
        if kind in _NAMED and (not is_record or RecordKey(key)):
            return name.replace("/", ".")
    return f"unknown-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _is_of_kind(file: str) -> bool:
    first, dot, _ = file.partition(".")
    return bool(dot) and first in _NAMED


def _is_reported(file: str) -> bool:
    return file.endswith(REPORTED)
