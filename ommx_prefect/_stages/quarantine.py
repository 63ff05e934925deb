"""Set damaged records aside, so that the rest of a flow run can be sealed without them.

    <stage>/quarantine/shards.<key>            as it was found
    <stage>/quarantine/shards.<key>.reported   the same, once an experiment tells of it

Nothing is thrown away: who can mend a record puts it where it was, and it is sealed as ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ommx_prefect._registry.files import make_folder, read_regular, write_whole
from ommx_prefect._shards.names import RecordKey
from ommx_prefect._shards.schema import fields_of, parsed
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    INBOX,
    KINDS,
    PARTS,
    QUARANTINE,
    SHARDS,
    STARTS,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import MALFORMED, Stage, damaged
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

REPORTED = ".reported"
# Records that stand for an attempt, which gets a Run though they are damaged.
OF_ATTEMPTS = (STARTS, SHARDS, CHECKPOINTS)
# How many damaged records an error names, and how much it says of each.
MOST_NAMED, REASON_LETTERS = 5, 100
_KEY = re.compile(r"(?P<task_run_id>.+)-(?P<attempt>\d{1,9})-(?P<nonce>[^-]+)")


class Quarantine:
    """The damaged records of one flow run.

    Args:
        stage: Its stage.
    """

    def __init__(self, stage: Stage) -> None:
        self.owner = stage.owner
        self.folder = stage.path / QUARANTINE

    def keep(self, name: str, data: bytes) -> None:
        """Set the bytes of a damaged object aside, `shards/<key>`, or whatever it is called."""
        write_whole(self.folder / _file_name(name), data, durable=True)

    def move(self, path: Path, name: str) -> None:
        """Set a damaged file, or folder of a checkpoint, aside."""
        make_folder(self.folder)
        target = self.folder / _file_name(name)
        if target.is_dir():  # of a checkpoint that was set aside before
            shutil.rmtree(target)
        os.replace(path, target)

    def holds(self, name: str, data: bytes) -> bool:
        """Tell whether an object was set aside as it is now; one that was mended is another."""
        path = self.folder / _file_name(name)
        for each in (path, path.with_name(path.name + REPORTED)):
            with contextlib.suppress(OSError, DocumentError):
                if read_regular(each) == data:
                    return True
        return False

    def names(self) -> list[str]:
        """Return the names of records set aside that no experiment mentions yet."""
        with contextlib.suppress(FileNotFoundError):
            found = [x for x in os.listdir(self.folder) if x[0] != "." and not _is_reported(x)]
            return sorted(x.replace(".", "/", 1) if _kind_of(x) else x for x in found)
        return []

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
            owner=self.owner,
            flow_run_id=self.owner,
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
        """Note that an experiment tells of all that was set aside."""
        for name in self.names():
            path = self.folder / _file_name(name)
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, path.with_name(path.name + REPORTED))


def damaged_files(stage: LocalStage) -> Iterator[tuple[str, Path, DocumentError]]:
    """Yield the damaged records in a stage's own folder and its inbox: name, file, and error."""
    for name, path in _files(stage.path):
        try:
            _check(stage, name, path)
        except DocumentError as error:
            yield name, path, error
        except FileNotFoundError:
            continue


def _check(stage: LocalStage, name: str, path: Path) -> None:
    """Raise DocumentError where the file of a document, or of a record, is damaged."""
    kind = KINDS[name.partition("/")[0]]
    if kind.name == CHECKPOINTS:
        CheckpointFiles(stage).read(path)
    elif kind.name == STARTS:
        stage.start_in(path)
    elif kind.name in (SHARDS, PARTS):
        stage.shard_in(path)
    elif kind.schema is not None:
        try:
            fields = fields_of(read_regular(path), kind.format, f"{stage.owner}/{name}")
            parsed(kind.schema, fields)
        except MALFORMED as error:
            raise damaged(path, error) from error


def set_aside_files(stage: LocalStage) -> None:
    """Set the damaged records in a stage's own folder and its inbox aside."""
    quarantine = Quarantine(stage)
    for name, path, error in list(damaged_files(stage)):
        if is_damage(error):
            quarantine.move(path, name)


def is_damage(error: DocumentError) -> bool:
    """Tell damage from a record that a later release wrote: that waits for an upgrade."""
    return not isinstance(error, UnknownFormatError)


def named(owner: str, errors: Mapping[str, DocumentError]) -> DocumentError:
    """Return one error that names each damaged record, and what can be done without them.

    Args:
        owner: The flow run.
        errors: Why each record is refused, by its name.
    """
    how = f"ommx-prefect seal --quarantine {owner}"
    if len(errors) == 1:
        (error,) = errors.values()
        return type(error)(f"{error}. The rest is sealed without it, by: {how}")
    shown = sorted(errors)[:MOST_NAMED]
    said = "; ".join(f"{name}: {_reason_of(errors[name])}" for name in shown)
    more = f"; and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    return DocumentError(
        f"{len(errors)} records are refused; the rest is sealed without them, by: {how}. They are "
        f"{said}{more}"
    )


def _reason_of(error: DocumentError) -> str:
    """Say what is wrong with a record, without what the error says of its place."""
    return str(error.__cause__ or error)[:REASON_LETTERS]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for place in (folder, folder / INBOX):
        for kind in (kind for kind in KINDS.values() if kind.schema is not None):
            path = place / kind.name
            if path.is_dir() and not path.is_symlink():
                entries = (x for x in sorted(path.iterdir()) if x.name[0] != ".")
                yield from ((f"{kind.name}/{each.name}", each) for each in entries)
            elif os.path.lexists(path):
                yield kind.name, path


def _file_name(name: str) -> str:
    """Return a plain file name for whatever an object is called."""
    kind, is_record, key = name.partition("/")
    with contextlib.suppress(DocumentError):
        if kind in KINDS and (not is_record or RecordKey(key)):
            return name.replace("/", ".")
    return f"unknown-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _kind_of(file: str) -> bool:
    first, dot, _ = file.partition(".")
    return bool(dot) and first in KINDS


def _is_reported(file: str) -> bool:
    return file.endswith(REPORTED)
