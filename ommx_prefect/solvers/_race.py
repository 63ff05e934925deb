"""Let several solvers race on one instance; the first proof stops the others.

They know of each other by one file in a temporary folder of the host, made by the first and read
by the rest. So they race on one host; on others each solver runs to its own end. The folder is
this user's alone: who could write there would say who has won.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, cast

from ommx import Instance, Sense, Solution
from ommx.adapter import SolverAdapter
from prefect.context import FlowRunContext

from ommx_prefect._registry.files import read_regular
from ommx_prefect.exceptions import DocumentError
from ommx_prefect.solvers._stopping import LostRace, race_winner

Adapter: TypeAlias = "type[SolverAdapter] | str"


def racer(adapter: Adapter) -> str:
    """Return how a solver is called in a race."""
    return adapter if isinstance(adapter, str) else adapter.__name__


def racers_of(adapters: Sequence[Adapter]) -> dict[str, Adapter]:
    """Return solvers by name; ValueError where these are none, or one is named twice."""
    if isinstance(adapters, (str, type)) or not adapters:
        raise ValueError("race() needs one solver at least, such as ['highs', 'scip']")
    racers = {racer(each): each for each in adapters}
    if len(racers) < len(adapters):
        raise ValueError(f"a solver is named twice in the race of {list(map(racer, adapters))}")
    return racers


def require_flow() -> None:
    """Raise RuntimeError outside flows: the solvers of a race run in a flow's task runner."""
    if FlowRunContext.get() is None:
        raise RuntimeError(
            "race() found no flow that runs here: each solver is a task run of a flow. Call it in "
            "the body of a function decorated with ommx_prefect.flow"
        )


def new_race() -> str:
    """Return the file of a new race, which does not exist until somebody has won."""
    return str(Path(tempfile.mkdtemp(prefix="ommx-prefect-race-"), "winner"))


@contextlib.contextmanager
def racing(race: str) -> Iterator[None]:
    """Stop the solves in the block when another solver has won.

    Raises:
        LostRace: Somebody has won before this one began.
    """
    if (winner := winner_of(race)) is not None:
        raise LostRace(winner, has_begun=False)
    token = race_winner.set(lambda: winner_of(race))
    try:
        yield
    finally:
        race_winner.reset(token)


def winner_of(race: str) -> str | None:
    """Return the solver that has won, or None."""
    if not _is_ours(race):
        return None
    try:
        return read_regular(race).decode()
    except (FileNotFoundError, DocumentError):
        return None


def win(race: str, name: str) -> None:
    """Claim the race, unless another solver was first."""
    if not _is_ours(race):  # on another host, where nobody else races
        return
    own = Path(f"{race}.{uuid.uuid4().hex}")
    own.write_text(name)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, race)  # whole, or not at all
    finally:
        own.unlink()


def end_race(race: str) -> None:
    """Forget a race, once nobody runs any more."""
    if _is_ours(race):
        shutil.rmtree(os.path.dirname(race), ignore_errors=True)


def _is_ours(race: str) -> bool:
    """Tell whether the folder of a race is here, and only this user may write to it."""
    try:
        found = os.lstat(os.path.dirname(race))
    except OSError:
        return False
    is_own = not hasattr(os, "geteuid") or (
        found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )
    return stat.S_ISDIR(found.st_mode) and is_own


def result_of_race(ends: Mapping[str, object], winner: str | None, instance: Instance) -> Solution:
    """Return the winner's Solution, or the best one where nobody has won.

    Args:
        ends: What each solver ended with: a Solution, an exception, or a state.
        winner: Who has won, if somebody has.
        instance: The instance.

    Raises:
        BaseException: What the winner, or where nobody won the first one, ended with.
    """
    if winner is not None and isinstance(ends[winner], Solution):
        return cast(Solution, ends[winner])
    found = [end for end in ends.values() if isinstance(end, Solution)]
    if winner is None and found:
        best = max if instance.sense == Sense.Maximize else min
        return best(found, key=lambda solution: solution.objective)
    errors = [end for end in (ends.get(winner or ""), *ends.values()) if _is_error(end)]
    raise cast(BaseException, errors[0])


def _is_error(end: object) -> bool:
    return isinstance(end, BaseException)
