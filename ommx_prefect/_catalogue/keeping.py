"""Find the small files of flow runs that `prune` can archive or remove, besides experiments.

| what | when | how |
|---|---|---|
| documents of a flow run | it ended, is sealed, and was not touched for long | into one file |
| which task run made a persisted result | no task run has asked for long | it is removed |
| checkpoints of a flow run that is sealed on another host | untouched for long | moved aside |
| a hidden folder of a killed `prune` | nobody is at it | what came late is given back |
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from ommx_prefect._catalogue.pruning import ASIDE, Prunable
from ommx_prefect._catalogue.sizes import stage_bytes
from ommx_prefect._recording.result_origins import old_origins
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._shards.names import FlowRunId
from ommx_prefect._stages.kept import KEPT, image_name_in, may_be_put_away, put_away, touched
from ommx_prefect._stages.left_aside import folders_aside, give_back_left
from ommx_prefect._stages.leftovers import is_left_over
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from ommx_prefect.exceptions import DocumentError

COMES_BACK = "nothing is to be done: they come back when the flow run is named"
LEFT = "whoever put it away, or brought it back, was killed, or is at it"
GIVEN_BACK = "nothing is to be done: what nothing else holds goes back to its flow run; seal that"
NEVER = "nothing brings them back: a later hit in a cache does not name the run that was first"


def prunable_files(min_age: float, prefix: str = "") -> Iterator[Prunable]:
    """Yield what can be archived or removed.

    Args:
        min_age: For how many seconds nobody has touched it.
        prefix: Of the image names of flow runs; what has none goes without it alone.
    """
    for aside in folders_aside(stage_root()):  # before anything else is put away
        given_back = partial(give_back_left, aside)
        yield Prunable("left", aside.name, LEFT, stage_bytes(aside), GIVEN_BACK, given_back)
    before = time.time() - min_age
    if found := list(_sealed_before(before, prefix)):
        why = f"sealed, and untouched for long; they go into {KEPT}"
        folders = f"of {len(found):,} flow runs"
        yield Prunable(
            "documents", folders, why, _bytes_of(found), COMES_BACK, lambda: _put_away(found)
        )
    if old := {} if prefix else old_origins(before):
        why = "no task run has found these results in its cache for long"
        names = f"of {len(old):,} results"
        yield Prunable("origins", names, why, sum(old.values()), NEVER, lambda: _remove(old))
    if left := [] if prefix else list(_left_over_before(before)):
        yield _leftovers(left)


def _leftovers(folders: list[Path]) -> Prunable:
    aside = registry_root() / ASIDE / f"leftovers-{int(time.time())}"
    why = "their records went to a stage that hosts share; untouched for long"
    restore = f"mv {shlex.quote(str(aside))}/* {shlex.quote(str(stage_root()))}"
    name, move = f"of {len(folders):,} flow runs", partial(_move_aside, folders, aside)
    return Prunable("leftovers", name, why, _bytes_of(folders), restore, move)


def _left_over_before(before: float) -> Iterator[Path]:
    for folder in _stages():
        with contextlib.suppress(OSError):
            if touched(folder) < before and is_left_over(folder):
                yield folder


def _move_aside(folders: Iterable[Path], aside: Path) -> None:
    aside.mkdir(parents=True, exist_ok=True)
    for folder in filter(Path.is_dir, folders):
        with LocalStage(folder.name).locked():
            if is_left_over(folder):  # nobody records again
                folder.rename(aside / folder.name)


def _sealed_before(before: float, prefix: str) -> Iterator[Path]:
    for folder in _stages():
        with contextlib.suppress(DocumentError, OSError):
            is_old = touched(folder) < before
            if is_old and may_be_put_away(folder) and image_name_in(folder).startswith(prefix):
                yield folder


def _stages() -> Iterator[Path]:
    root = stage_root()
    for folder in root.iterdir() if root.is_dir() else ():
        with contextlib.suppress(DocumentError):
            FlowRunId(folder.name)
            if folder.is_dir():
                yield folder


def _put_away(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(DocumentError), LocalStage(folder.name).locked():
            if may_be_put_away(folder):  # nobody has sealed it again, or runs it
                put_away(folder)


def _bytes_of(folders: Iterable[Path]) -> int:
    return sum(map(stage_bytes, folders))


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
