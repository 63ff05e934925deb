"""Write the warnings about an accepted file: readers that differ, and what they ignored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ommx_prefect.instances._build import emptied, left_out
from ommx_prefect.instances._compare import first_difference
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._readings import Reading
from ommx_prefect.instances._shared_faults import (
    Doubt,
    goes_on_after_its_end,
    says_maximise,
)

_MOST_NAMES = 5


def differing(readings: Sequence[Reading], believed: tuple[Reading, ...]) -> Iterator[str]:
    """Describe what the other readers read differently."""
    names, model = ", ".join(each.reader for each in believed), believed[0].model
    for each in readings:
        if each in believed or each.model is None or model is None:
            continue
        if difference := first_difference(model, each.model):
            told = difference.told(names, each.reader)
            yield f"{each.reader} reads it otherwise than {names}, believed here: {told}"


def alone(believed: tuple[Reading, ...], doubts: Iterable[Doubt]) -> Iterator[str]:
    """Warn that one reader alone was believed, and of its known faults in this file."""
    if len(believed) == 1:
        reader = believed[0].reader
        yield f"{reader} alone read it so; no other reader confirms it"
        yield from (f"{each.reason}: {reader} may err" for each in doubts if reader in each.readers)


def remarks(readings: Iterable[Reading]) -> tuple[str, ...]:
    """Return what readers that took the file warned of."""
    return tuple(
        f"{each.reader} says: {remark}"
        for each in readings
        if each.model is not None
        for remark in each.model.remarks
    )


def sense_comment(path: Path, believed: Iterable[Reading]) -> Iterator[str]:
    """Say that a comment speaks of another sense than the format's own section."""
    minimised = any(each.model is not None and not each.model.maximize for each in believed)
    if minimised and says_maximise(path):
        yield (
            "it is minimised here, for it has no OBJSENSE section, but a comment says that it is "
            "maximised: PuLP writes such files, and the section as well with with_objsense=True"
        )


def after_end(path: Path, suffix: str) -> Iterator[str]:
    """Say that a file goes on after the end of its model."""
    if suffix == ".mps" and goes_on_after_its_end(path):
        yield "what stands after the first ENDATA is no part of the model"


def unused(suffix: str, model: Matrix) -> Iterator[str]:
    """Warn of columns of an LP file that occur only in its bounds or kinds.

    In an LP file a name is declared where it stands first: a misspelt one is a column of its own.
    """
    if suffix != ".lp":
        return
    places = (model.entries.places[:, 1:], model.products.places, model.row_products.places[:, 1:])
    used = np.zeros(len(model.columns), bool)
    used[np.concatenate([np.flatnonzero(model.costs), *(place.ravel() for place in places)])] = True
    if used.all():
        return
    names = [model.columns[column] for column in np.flatnonzero(~used)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    yield f"in no row, and without a cost: {', '.join(names[:_MOST_NAMES])}{more}. Is it misspelt?"


def rewritten(model: Matrix) -> Iterator[str]:
    """Describe what an Instance expresses differently from the file."""
    for column in emptied(model):
        yield (
            f"column {column} has an empty bound, the model is infeasible: its upper bound is "
            "a constraint here"
        )
    if rows := left_out(model):
        yield f"rows without any bound are left out: {', '.join(rows)}"
