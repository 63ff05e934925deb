"""Explain why no reading of a file is accepted, and what helps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from ommx_prefect.instances._compare import first_difference
from ommx_prefect.instances._readings import Reading
from ommx_prefect.instances._sections import inexpressible_part
from ommx_prefect.instances._shared_faults import Doubt


def refusal(readings: Sequence[Reading], path: Path, suffix: str, doubts: Sequence[Doubt]) -> str:
    """Return the reason: an unsupported part, a difference, or the readers' own errors."""
    models = [each for each in readings if each.model is not None]
    if len(models) < 2 and (part := _not_taken(readings, path, suffix)):
        return f"load_instance does not take {part}; write it as rows and bounds"
    if doubts and models:
        differ = _differences(models)
        told = "; ".join(filter(None, [_doubted(doubts), differ]))
        cure = "" if differ else "; min_readers=1 believes it as it was read"
        return f"{told}{_unread(readings)}{_missing(readings)}{cure}"
    if len(models) > 1:
        differ = f"its readers differ, and no two agree: {_differences(models)}"
        part = inexpressible_part(path, suffix)
        has = f"; it has {part}" if part else ""
        return f"{differ}{has}{_unread(readings)}{_missing(readings)}"
    if models:
        alone = models[0].reader
        return (
            f"{alone} alone reads it, and nobody confirms it ({_reasons(readings)})"
            f"{_missing(readings)}; min_readers=1 believes {alone} alone"
        )
    return f"no reader takes it: {_reasons(readings)}{_missing(readings)}"


def _doubted(doubts: Sequence[Doubt]) -> str:
    return "; ".join(
        f"{each.reason}: {_joined_names(sorted(each.readers))} may read it alike and wrong"
        for each in doubts
    )


def _joined_names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _not_taken(readings: Sequence[Reading], path: Path, suffix: str) -> str | None:
    said = next((each.reason for each in readings if each.inexpressible), None)
    return inexpressible_part(path, suffix) or said


def _differences(models: Sequence[Reading]) -> str:
    # OMMX's reading last: it has `-x <= -2` for `x >= 2`, and rows are told as the first has them.
    models = sorted(models, key=lambda each: each.reader == "ommx")
    told = []
    for one, other in combinations(models, 2):
        if one.model and other.model and (found := first_difference(one.model, other.model)):
            told.append(found.told(one.reader, other.reader))
    return "; ".join(told)


def _unread(readings: Sequence[Reading]) -> str:
    return f" ({said})" if (said := _reasons(readings)) else ""


def _reasons(readings: Sequence[Reading]) -> str:
    return "; ".join(f"{each.reader}: {each.reason}" for each in readings if each.model is None)


def _missing(readings: Sequence[Reading]) -> str:
    packages = [each.missing_package for each in readings if each.missing_package]
    return f". One more reader may decide: pip install {' '.join(packages)}" if packages else ""
