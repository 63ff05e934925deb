"""Keep the documents of sealed flow runs in one file, where `prune` has put their folders away.

    <registry root>/ommx-prefect/kept.sqlite

A seal leaves some five small files of a flow run for ever: its answer, and what a later seal of it
has to know. Of thousands of flow runs they are a table of one database. Whoever names such a flow
run again finds its folder as it was: it is brought back before anything of it is read or written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ommx_prefect._prefect.log import warn_once
from ommx_prefect._registry.files import (
    PRIVATE_FILE,
    flush_folder,
    make_folder,
    read_regular,
    write_durable,
    write_whole,
)
from ommx_prefect._registry.layout import BLOBS
from ommx_prefect._shards.schema import fields_of, parsed
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    FLOW_RECORD,
    KINDS,
    LOCK,
    OUTBOX_RECORD,
    PROCESS_RECORD,
    ROLLED_BACK,
    SEALED_RECORD,
    STATE_RECORD,
    SUBFLOWS,
    FlowRecord,
    format_of,
    path_in,
)
from ommx_prefect._stages.files import has_content
from ommx_prefect._stages.unsealed import has_unsealed
from ommx_prefect.exceptions import DocumentError

KEPT = "kept.sqlite"
# What is put away. A folder that holds anything else stays: it waits for something, or somebody.
KEPT_DOCUMENTS = frozenset(
    {FLOW_RECORD, PROCESS_RECORD, STATE_RECORD, SEALED_RECORD, OUTBOX_RECORD}
)
KEPT_FOLDERS = frozenset({SUBFLOWS, ROLLED_BACK})
OF_A_SUBFLOW = frozenset(map(Path, (FLOW_RECORD, PROCESS_RECORD, LOCK)))
WAIT_SECONDS = 60.0
SCHEMA = """
    CREATE TABLE IF NOT EXISTS kept (
        owner TEXT, name TEXT, data BLOB, written REAL, PRIMARY KEY (owner, name)
    ) WITHOUT ROWID
"""


def may_be_put_away(folder: Path) -> bool:
    """Tell whether a flow run has ended, is sealed, and has nothing but documents here.

    A subflow that is part of another experiment goes when that is sealed.

    Raises:
        DocumentError: A document of it is damaged.
    """
    files = {path.relative_to(folder) for path in _files(folder)}
    if not all(map(_is_kept, files)):
        return False
    if Path(SEALED_RECORD) not in files:
        return files <= OF_A_SUBFLOW and _is_sealed_with_its_root(folder)
    is_over = Path(STATE_RECORD) in files and not has_unsealed(folder)
    return is_over and not _is_composed(folder)


def _is_kept(path: Path) -> bool:
    return path.as_posix() in {*KEPT_DOCUMENTS, LOCK} or path.parts[0] in KEPT_FOLDERS


def _is_sealed_with_its_root(folder: Path) -> bool:
    root = _root_of(folder)
    has_all = all((root / name).exists() for name in (SEALED_RECORD, STATE_RECORD))
    return root != folder and (has_all or not root.exists())


def _root_of(folder: Path) -> Path:
    """Return the folder of the flow run to whose experiment a flow run belongs."""
    record = parsed(FlowRecord, _fields_of(folder, FLOW_RECORD))
    return folder.with_name(str(record.root_flow_run_id))  # pathlib takes no kind of text but text


def _is_composed(folder: Path) -> bool:
    """Tell whether an experiment was composed in a registry: the next night looks for its stage."""
    return bool(_fields_of(folder, SEALED_RECORD).get("composed_in"))


def image_name_in(folder: Path) -> str:
    """Return the image name under which a flow run was sealed, or its root; empty if unknown."""
    try:
        return str(_fields_of(_root_of(folder), SEALED_RECORD).get("image_name", ""))
    except FileNotFoundError:
        return ""


def _fields_of(folder: Path, name: str) -> dict[str, Any]:
    return fields_of(read_regular(folder / name), format_of(name), f"{folder.name}/{name}")


def touched(folder: Path) -> float:
    """Return the time of the newest file of a folder, in seconds since the epoch."""
    return max((path.stat().st_mtime for path in _files(folder)), default=0.0)


def put_away(folder: Path) -> None:
    """Put the documents of a flow run into the database, and then its folder away.

    Raises:
        OSError: The database cannot be written; the folder stays.
    """
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    rows = [
        (folder.name, name, read_regular(path), path.stat().st_mtime)
        for name, path in found.items()
        if name != LOCK
    ]
    with transaction(folder.parent / KEPT) as database:
        database.execute("DELETE FROM kept WHERE owner = ?", (folder.name,))
        database.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", rows)
    aside = _scratch(folder)
    folder.rename(aside)
    for name in came_late(aside, {name: data for _, name, data, _ in rows}):
        give_back(aside / name, folder / name)
    shutil.rmtree(aside, ignore_errors=True)


def came_late(aside: Path, known: Mapping[str, bytes]) -> list[str]:
    """Return the files written into a folder while it was put away; those naming payload last.

    Args:
        aside: The folder as it lies beside the others.
        known: What the database was given of it.
    """
    names = [path.relative_to(aside).as_posix() for path in _files(aside)]
    late = [x for x in names if _is_whole(x) and not _is_same(aside / x, known.get(x))]
    return sorted(late, key=lambda name: (not name.startswith((BLOBS, CHECKPOINTS)), name))


def _is_whole(name: str) -> bool:
    """Tell whether a file of a stage is complete, and not its lock or one being written."""
    path = Path(name)
    return path.parts[0] in KINDS and not path.name.startswith(".")


def _is_same(path: Path, data: bytes | None) -> bool:
    with contextlib.suppress(DocumentError):
        return data is not None and read_regular(path) == data
    return False


def give_back(source: Path, target: Path) -> None:
    """Move a file back to the folder of its flow run; what is there already is newer."""
    if not os.path.lexists(target):
        make_folder(target.parent)
        source.rename(target)


def bring_back(folder: Path, *, is_there: bool = False) -> None:
    """Bring the folder of a flow run back, where it was put away.

    Who records goes on where the database is damaged; that is told once.

    Args:
        folder: The folder.
        is_there: Whether to look although it is there: somebody may have begun to write into it
            just when it was put away.
    """
    if os.path.exists(folder) and not is_there:  # each attempt asks
        return
    kept = folder.parent / KEPT
    if not has_content(kept):  # nobody has put anything away, or was killed before it was there
        return
    try:
        _bring_back(folder, kept)
    except (sqlite3.Error, DocumentError) as error:
        warn_once(f"{kept}, the records of earlier flow runs, cannot be read: {error}")


def _bring_back(folder: Path, kept: Path) -> None:
    query, where = "SELECT name, data, written FROM kept WHERE owner = ?", (folder.name,)
    with contextlib.closing(sqlite3.connect(kept, timeout=WAIT_SECONDS)) as database:
        if database.execute(query, where).fetchone() is None:
            return
    with _opened(kept) as database:
        rows = database.execute(query, where).fetchall()
        if rows and not (folder / SEALED_RECORD).exists():
            _write(folder, sorted(rows, key=lambda row: row[0] == SEALED_RECORD))
        database.execute("DELETE FROM kept WHERE owner = ?", where)


def _write(folder: Path, rows: list[tuple[str, bytes, float]]) -> None:
    """Write the files of a folder so that it is seen whole or not at all."""
    scratch = _scratch(folder)
    files = [(path_in(scratch, name), data, written) for name, data, written in rows]
    for path, data, written in files:
        write_durable(path, data)
        os.utime(path, (written, written))
    try:
        scratch.rename(folder)
    except OSError:  # another process has begun to write there: what it wrote is newer
        for name, data, _ in rows:
            if not (path := path_in(folder, name)).exists():
                write_whole(path, data, durable=True)
        shutil.rmtree(scratch, ignore_errors=True)
    flush_folder(str(folder.parent))


@contextlib.contextmanager
def transaction(kept: Path) -> Iterator[sqlite3.Connection]:
    """Open a transaction of the database; OSError where that fails."""
    try:
        with _opened(kept) as database:
            database.execute(SCHEMA)
            yield database
    except sqlite3.Error as error:
        raise OSError(f"{kept} cannot be read or written: {error}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database for one transaction, alone."""
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE))
    database = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
    try:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        yield database
        database.execute("COMMIT")
    finally:
        database.close()  # what was not committed is undone


def _scratch(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
