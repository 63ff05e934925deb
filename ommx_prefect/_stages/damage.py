"""Find the damaged records of a stage, name them, and set them aside on request.

A seal reads no more of a record than it needs. Where it fails, all of each is looked at, payload
too, so that the error names what is to blame.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ommx_prefect._format.decode import check_blob
from ommx_prefect._registry.blobs import blob_path, read_checked
from ommx_prefect._registry.files import read_regular
from ommx_prefect._registry.layout import BLOBS, blob_folder
from ommx_prefect._shards.archive import check_experiment, payload_of
from ommx_prefect._shards.schema import fields_of, parsed
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.checkpoints import CheckpointFiles, checkpoint_blob
from ommx_prefect._stages.documents import (
    CHECKPOINTS,
    FOLDERS,
    INBOX,
    KINDS,
    PARTS,
    SHARDS,
    STARTS,
)
from ommx_prefect._stages.files import entries_in
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import MALFORMED, damaged, without_frames
from ommx_prefect._stages.quarantine import Quarantine
from ommx_prefect._stages.record_files import read_shard_file
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

# How many damaged records an error names, and how much it says of each.
MOST_NAMED, REASON_LETTERS = 5, 100
QUARANTINE_COMMAND = "ommx-prefect seal --quarantine"
UPGRADE = "upgrade ommx_prefect"


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
    kind, is_record, _ = name.partition("/")
    schema = KINDS[kind].schema
    if kind in FOLDERS and not is_record:
        raise damaged(path, DocumentError("it is no folder"))
    if kind == CHECKPOINTS:
        _check_checkpoint(stage, path)
    elif kind == STARTS:
        stage.start_in(path)
    elif kind in (SHARDS, PARTS):
        _check_shard(stage, path)
    elif schema is not None:
        _check_document(path, schema, KINDS[kind].format, f"{stage.flow_run_id}/{name}")


def _check_document(path: Path, schema: type, newest: int, name: str) -> None:
    try:
        parsed(schema, fields_of(read_regular(path), newest, name))
    except MALFORMED as error:
        raise damaged(path, error) from without_frames(error)


def _check_shard(stage: LocalStage, path: Path) -> None:
    """Check all of a shard; the payload of another host's shard may not be here yet."""
    shard = read_shard_file(path, stage.flow_run_id)
    is_own = path.parent.parent == stage.path

    def find(digest: str) -> Path | None:
        pinned = stage.pinned(digest)
        return pinned if pinned.exists() else blob_path(digest) if is_own else None

    if shard is not None:
        _check_content(path, shard, find)


def _check_checkpoint(stage: LocalStage, path: Path) -> None:
    shard = CheckpointFiles(stage).read(path)
    if shard is None:
        raise damaged(path, DocumentError("it has no record"))
    _check_content(path, shard, lambda digest: checkpoint_blob(path, digest))


def _check_content(path: Path, shard: Shard, find: Callable[[str], Path | None]) -> None:
    """Raise DocumentError where a shard's Experiment, or its payload, is damaged."""
    try:
        check_experiment(shard, is_attempt=path.parent.name != PARTS)
        for layer in payload_of(shard):
            if (inside := shard.payload.get(layer.digest)) is not None:
                check_blob(layer, inside)
            elif (found := find(layer.digest)) is not None:
                check_blob(layer, read_checked(found, layer.digest))
    except FileNotFoundError as error:
        raise damaged(path, DocumentError(f"its payload is lost: {error.filename}")) from error
    except MALFORMED as error:
        raise damaged(path, error) from without_frames(error)


def set_aside_files(stage: LocalStage) -> None:
    """Set the damaged records in a stage's own folder and its inbox aside."""
    set_aside_payload(stage)
    quarantine = Quarantine(stage)
    for name, path, error in list(damaged_files(stage)):
        if is_damage(error):
            quarantine.move(path, name)


def set_aside_payload(stage: LocalStage) -> None:
    """Set aside the stage's own copies of payload that are damaged.

    A seal links anew what the Local Registry has, and fetches what lies in a shared place by
    itself. What came with its record comes with it again: see `SharedStage.set_aside`.
    """
    quarantine = Quarantine(stage)
    for path in entries_in(blob_folder(stage.path)):
        try:
            read_checked(path, f"sha256:{path.name}")
        except DocumentError:
            quarantine.move(path, f"{BLOBS}/{path.name}")


def is_damage(error: DocumentError) -> bool:
    """Tell whether an error is damage, and not the unknown format of a later release."""
    return not isinstance(error, UnknownFormatError)


def names_damage(error: DocumentError) -> bool:
    """Tell whether an error is one of `damage_error`."""
    return QUARANTINE_COMMAND in error.reason


def damage_error(flow_run_id: str, errors: Mapping[str, DocumentError]) -> DocumentError:
    """Return one error that names each damaged record, and what can be done without them.

    Args:
        flow_run_id: The flow run.
        errors: Why each record is refused, by its name.
    """
    how = f"{QUARANTINE_COMMAND} {flow_run_id}"
    later = sum(not is_damage(error) for error in errors.values())
    if len(errors) == 1:
        (error,) = errors.values()
        rest = _waits(str(error)) if later else f". The rest is sealed without it, by: {how}"
        return type(error)(f"{error}{rest}")
    shown = sorted(errors)[:MOST_NAMED]
    said = "; ".join(f"{name}: {_reason_of(errors[name])}" for name in shown)
    more = f"; and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    if later == len(errors):
        first = f"{later} records are of a later release: {UPGRADE} on this host"
        return UnknownFormatError(f"{first}. They are {said}{more}")
    first = f", {later} of a later release: {UPGRADE} on this host first" if later else ""
    return DocumentError(
        f"{len(errors)} records are refused{first}; the rest is sealed without them, by: {how}. "
        f"They are {said}{more}"
    )


def _waits(said: str) -> str:
    """Say what to do about a record of a later release, unless its error has."""
    return "" if UPGRADE in said else f": {UPGRADE} on this host"


def _reason_of(error: DocumentError) -> str:
    """Say what is wrong with a record, without what the error says of its place."""
    return str(error.__cause__ or error)[:REASON_LETTERS]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for place in (folder, folder / INBOX):
        for kind in (kind for kind in KINDS.values() if kind.schema is not None):
            path = place / kind.name
            if kind.name in FOLDERS and path.is_dir() and not path.is_symlink():
                entries = (x for x in sorted(path.iterdir()) if x.name[0] != ".")
                yield from ((f"{kind.name}/{each.name}", each) for each in entries)
            elif os.path.lexists(path):
                yield kind.name, path
