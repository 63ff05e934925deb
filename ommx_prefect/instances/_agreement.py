"""Decide which reading of a file is accepted: one that two independent readers agree on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from ommx import Instance

from ommx_prefect.exceptions import InstanceFileError
from ommx_prefect.instances._build import build_instance, emptied, left_out
from ommx_prefect.instances._compare import differences, first_difference
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._readings import READERS, Reading, reading
from ommx_prefect.instances._refusal import refusal

# Whose reading is taken, told and named first.
_TRUST = ("highs", "scip", "ommx")
_SHOWN = ("highs", "ommx", "scip")
# What OMMX's loader is known to read otherwise, beside the linear part.
_KNOWN_OF_OMMX = {"constant", "products", "row_products"}


@dataclass(frozen=True)
class Agreed:
    """An accepted instance, the readers that agreed on it (`highs+ommx`), and remarks."""

    instance: Instance
    readers: str
    warnings: tuple[str, ...]


def agreed_instance(path: Path, source: str, suffix: str, min_readers: int) -> Agreed:
    """Read a file, with as many readers as it takes until so many agree.

    Raises:
        InstanceFileError: They do not; the reason is the first difference, or what each says.
    """
    readings: list[Reading] = []
    for reader in READERS[suffix]:
        is_sound = any(each.reader == "ommx" and each.model for each in readings)
        readings.append(reading(reader, path, is_sound=is_sound))
        if believed := _agreeing(readings):
            return _believed(readings, believed)
    if believed := _alone(readings, min_readers):
        return _believed(readings, believed)
    raise InstanceFileError(source, refusal(readings, path, suffix))


def _agreeing(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    models = _most_trusted_first(readings)
    return next((each for each in combinations(models, 2) if _all_agree(each)), ())


def _most_trusted_first(readings: Sequence[Reading]) -> list[Reading]:
    models = [each for each in readings if each.model is not None]
    return sorted(models, key=lambda each: _TRUST.index(each.reader))


def _alone(readings: Sequence[Reading], min_readers: int) -> tuple[Reading, ...]:
    """Return the one reader that is accepted although no other agrees."""
    if min_readers == 1:
        return tuple(_most_trusted_first(readings)[:1])
    return _alone_with_quadratic_rows(readings)


def _all_agree(readings: tuple[Reading, ...]) -> bool:
    first, other = (each.model for each in readings)
    return first is not None and other is not None and not first_difference(first, other)


def _alone_with_quadratic_rows(readings: Sequence[Reading]) -> tuple[Reading, ...]:
    """Return SCIP's reading of a file with quadratic constraints if all else is undisputed.

    HiGHS takes no such file, and OMMX's loader is known for what it makes of quadratic terms and
    of the objective's constant.
    """
    scip = readings[-1]
    if scip.model is None or not len(scip.model.row_products):
        return ()
    others = [each.model for each in readings[:-1] if each.model]
    disputed = {found.figure for each in others for found in differences(scip.model, each)}
    return () if disputed - _KNOWN_OF_OMMX else (scip,)


def _believed(readings: Sequence[Reading], believed: tuple[Reading, ...]) -> Agreed:
    own = next((each.instance for each in believed if each.instance is not None), None)
    model = _titled(believed)
    return Agreed(
        own if own is not None else build_instance(model),
        "+".join(sorted((each.reader for each in believed), key=_SHOWN.index)),
        (*_doubts(readings, believed), *_rewritten(model)),
    )


def _titled(believed: tuple[Reading, ...]) -> Matrix:
    models = [each.model for each in believed if each.model]
    return replace(models[0], title=next((each.title for each in models if each.title), ""))


def _doubts(readings: Sequence[Reading], believed: tuple[Reading, ...]) -> Iterator[str]:
    """Say what the others read otherwise, and that one reader stands alone."""
    names, model = ", ".join(each.reader for each in believed), believed[0].model
    for each in readings:
        if each in believed or each.model is None or model is None:
            continue
        if difference := first_difference(model, each.model):
            told = difference.told(names, each.reader)
            yield f"{each.reader} reads it otherwise than {names}, believed here: {told}"
    if len(believed) == 1:
        yield f"{names} alone read it so; no other reader confirms it"


def _rewritten(model: Matrix) -> Iterator[str]:
    for column in emptied(model):
        yield (
            f"column {column} has an empty bound, the model is infeasible: its upper bound is "
            "a constraint here"
        )
    if rows := left_out(model):
        yield f"rows without any bound are left out: {', '.join(rows)}"
