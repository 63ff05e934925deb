"""What can be removed from a Local Registry, and how it can be restored.

| what | when | how |
|---|---|---|
| a night | its repository has more than `keep` newer ones | its names are removed |
| a checkpoint | a later night superseded it, and it is old | its name is removed |
| a part | no experiment names it any more, and it is old | its name is removed |
| an unsealed flow run | it ended, and nothing of it was touched for long | it is moved aside |

Blobs are never touched: OMMX's `gc` takes what no name reaches, and until then everything
comes back. What belongs to an open flow run stays, as does what cannot be told.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from ommx_prefect._catalogue.listing import Listed
from ommx_prefect._format.parts import PARTS
from ommx_prefect._oci.image_name import with_tag
from ommx_prefect._recovery.recover import Recovered
from ommx_prefect._recovery.unsealed import last_written
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._registry.names import drop_name_of
from ommx_prefect._registry.parts import forget_unnamed_parts, named_parts, places_in
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from ommx_prefect._stages.unsealed import has_unsealed, unsealed_flow_runs

ASIDE = "ommx-prefect-pruned"
_RESTORE = "from ommx.artifact import restore_image; restore_image({name!r}, {digest!r})"


@dataclass(frozen=True)
class Prunable:
    """One thing that `prune` can remove, and how it can be restored.

    Attributes:
        kind: `night`, `checkpoint`, `part` or `unsealed`; of small files see `keeping`.
        name: What it is called: an image name, or the id of a flow run.
        why: Why it can go.
        bytes: What it takes; blobs that others share count, too.
        restore: The command that brings it back.
    """

    kind: str
    name: str
    why: str
    bytes: int
    restore: str
    _remove: Callable[[], None]

    def remove(self) -> None:
        """Remove it from the Local Registry."""
        self._remove()


def prunable(
    found: Iterable[Listed], unsealed: Iterable[Recovered], *, keep: int | None, min_age: float
) -> Iterator[Prunable]:
    """Yield what can be removed.

    Args:
        found: What the registry has, the newest first.
        unsealed: What `recover` would do about each flow run that is not sealed.
        keep: How many nights of each repository stay; None for all.
        min_age: Seconds for which nobody has touched checkpoints and unsealed flow runs.
    """
    listed = list(found)
    busy = set(unsealed_flow_runs(unended=True))
    idle = [each for each in listed if not each.flow_run_id or each.flow_run_id not in busy]
    if keep is not None:
        yield from _nights(idle, listed, keep)
    yield from _checkpoints(idle, listed, min_age)
    # All else may be open: on another machine, or by what Prefect cannot tell now.
    stuck = {row.flow_run_id: row for row in unsealed if row.done == "would seal"}
    yield from _stray_parts(idle, min_age)
    for each in listed:
        if each.kind == "unsealed" and each.image in stuck and age_of(each) > min_age:
            yield _unsealed(each, stuck[each.image], min_age)


def age_of(each: Listed) -> float:
    """Return the seconds since something was written last; 0 where that is unknown."""
    try:
        then = datetime.fromisoformat(each.updated_at)
    except ValueError:
        return 0.0
    return (datetime.now(timezone.utc) - then).total_seconds()


def _nights(idle: list[Listed], listed: list[Listed], keep: int) -> Iterator[Prunable]:
    """Yield the experiments of each repository that are older than those to keep.

    Several names of one manifest, such as `latest`, are one night.
    """
    digests: dict[str, list[str]] = defaultdict(list)
    for each in listed:
        if each.kind == "sealed" and each.digest not in digests[each.repository]:
            digests[each.repository].append(each.digest)
    for each in idle:
        newer = digests[each.repository]
        if each.kind == "sealed" and each.digest in newer[keep:]:
            why = f"{keep} newer nights of {each.repository} stay"
            yield _prunable_name("night", each, why)


def _checkpoints(idle: list[Listed], listed: list[Listed], min_age: float) -> Iterator[Prunable]:
    """Yield old checkpoints of flow runs that were sealed later, under that name or another."""
    for each in idle:
        if each.kind != "checkpoint" or age_of(each) <= min_age:
            continue
        later = [
            x.image
            for x in listed
            if x.kind == "sealed"
            and x.repository == each.repository
            and x.updated_at > each.updated_at
        ]
        if later:
            yield _prunable_name("checkpoint", each, f"{later[0]} was sealed later")


def _stray_parts(idle: list[Listed], min_age: float) -> Iterator[Prunable]:
    """Yield old parts whose experiment was removed by other hands, or never came to be."""
    old = [each for each in idle if each.kind == "part" and age_of(each) > min_age]
    named = named_parts() if old else set()
    for each in old:
        if each.digest not in named:
            yield _prunable_name("part", each, "no experiment names it")


def _prunable_name(kind: str, each: Listed, why: str) -> Prunable:
    """Describe the removal of a name; an experiment's parts go with its last name."""
    code = _RESTORE.format(name=each.stored_name, digest=each.digest)
    for place in places_in(each.digest) if PARTS in each.annotations else ():
        name = with_tag(each.image, place.tag)
        code += f"; restore_image({name!r}, {place.digest!r})"
    return Prunable(
        kind,
        each.image,
        why,
        each.bytes,
        f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}",
        lambda: _forget(each),
    )


def _forget(each: Listed) -> None:
    drop_name_of(each.stored_name, each.digest)
    if PARTS in each.annotations:
        forget_unnamed_parts(each.flow_run_id)


def _unsealed(each: Listed, row: Recovered, min_age: float) -> Prunable:
    folder = stage_root() / each.image
    aside = registry_root() / ASIDE / f"{each.image}-{int(time.time())}"
    why = f"untouched since {each.updated_at}; recover says: {row.done}, {row.why}"
    restore = f"mv {shlex.quote(str(aside))} {shlex.quote(str(folder))}"
    move = partial(_move_aside, each.image, aside, min_age)
    return Prunable("unsealed", each.image, why, each.bytes, restore, move)


def _move_aside(flow_run_id: str, aside: Path, min_age: float) -> None:
    """Move the records of a flow run aside, unless somebody has gone on with it, or sealed it."""
    stage = LocalStage(flow_run_id)
    if not stage.exists():
        raise OSError("it has gone meanwhile")
    with stage.locked():
        age = time.time() - last_written(stage.path)
        if age <= min_age or not has_unsealed(stage.path):
            raise OSError("somebody has gone on with it meanwhile")
        aside.parent.mkdir(parents=True, exist_ok=True)
        stage.path.rename(aside)
