"""Accept the reading of a file on which two independent readers agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from ommx import Instance

from ommx_prefect.exceptions import InstanceFileError
from ommx_prefect.instances._build import build_instance
from ommx_prefect.instances._compare import differences, first_difference
from ommx_prefect.instances._highs_reader import TWO_OF_ONE_NAME
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._readings import READERS, Reading, reading, reading_ahead
from ommx_prefect.instances._refusal import refusal
from ommx_prefect.instances._shared_faults import Doubt, shared_doubts
from ommx_prefect.instances._warnings import (
    after_end,
    alone,
    differing,
    remarks,
    rewritten,
    sense_comment,
    unused,
)

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
    """Read a file with one reader after the other, until enough of them agree.

    Raises:
        InstanceFileError: They do not; the reason is the first difference, or what each says.
    """
    readings, doubts = _first_two(path, suffix)
    believed = _agreeing(readings, doubts)
    for reader in READERS[suffix][2:]:
        if not believed or remarks(believed):
            readings.append(reading(reader, path))
            believed = _agreeing(readings, doubts)
    believed = believed or _alone(readings, doubts, min_readers)
    if not believed:
        raise InstanceFileError(source, refusal(readings, path, suffix, doubts))
    said = (
        *alone(believed, doubts),
        *remarks(believed),
        *sense_comment(path, believed),
        *after_end(path, suffix),
        *unused(suffix, _titled(believed)),
    )
    return _believed(readings, believed, said)


def _first_two(path: Path, suffix: str) -> tuple[list[Reading], tuple[Doubt, ...]]:
    first, second = READERS[suffix][:2]
    with reading_ahead(path, suffix) as begun:
        one = reading(first, path)
        is_sound = one.reader == "ommx" and one.model is not None
        readings = [one, reading(second, path, begun=begun, is_sound=is_sound)]
        if begun and is_sound:
            return readings, (*begun.doubts(), *_of_one_name(readings))
    doubts = shared_doubts(path, suffix, _unread(readings), _names(readings))
    return readings, (*doubts, *_of_one_name(readings))


def _of_one_name(readings: Sequence[Reading]) -> Iterator[Doubt]:
    """Doubt the others where HiGHS says so: SCIP and OMMX drop what a row named COST holds."""
    if any(each.reason == TWO_OF_ONE_NAME for each in readings):
        yield Doubt(frozenset({"ommx", "scip"}), TWO_OF_ONE_NAME)


def _unread(readings: Sequence[Reading]) -> frozenset[str]:
    return frozenset(each.reader for each in readings if each.model is None)


def _names(readings: Sequence[Reading]) -> Iterator[str]:
    models = (each.model for each in readings if each.model is not None)
    return (name for model in models for name in (*model.columns, *model.rows))


def _agreeing(readings: Sequence[Reading], doubts: Sequence[Doubt]) -> tuple[Reading, ...]:
    models = _most_trusted_first(readings)
    pairs = (each for each in combinations(models, 2) if _independent(each, doubts))
    return next((each for each in pairs if _all_agree(each)), ())


def _independent(readings: tuple[Reading, ...], doubts: Sequence[Doubt]) -> bool:
    """Tell whether no known fault is shared by all of these readers."""
    names = {each.reader for each in readings}
    return not any(names <= each.readers for each in doubts)


def _most_trusted_first(readings: Sequence[Reading]) -> list[Reading]:
    models = [each for each in readings if each.model is not None]
    return sorted(models, key=lambda each: _TRUST.index(each.reader))


def _alone(
    readings: Sequence[Reading], doubts: Sequence[Doubt], min_readers: int
) -> tuple[Reading, ...]:
    """Return the one reader that is accepted although no other agrees."""
    if min_readers == 1:
        return tuple(_most_trusted_first(readings)[:1])
    scip = _alone_with_quadratic_rows(readings)
    return scip if _independent(scip, doubts) else ()


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


def _believed(
    readings: Sequence[Reading], believed: tuple[Reading, ...], said: Iterable[str]
) -> Agreed:
    own = next((each.instance for each in believed if each.instance is not None), None)
    model = _titled(believed)
    return Agreed(
        own if own is not None else build_instance(model),
        "+".join(sorted((each.reader for each in believed), key=_SHOWN.index)),
        (*differing(readings, believed), *said, *rewritten(model)),
    )


def _titled(believed: tuple[Reading, ...]) -> Matrix:
    models = [each.model for each in believed if each.model]
    return replace(models[0], title=next((each.title for each in models if each.title), ""))
