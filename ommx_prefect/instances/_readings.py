"""Ask each reader for its reading of a file: a model, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ommx import Instance

from ommx_prefect.instances._highs_reader import read_highs
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._ommx_reader import is_exact, load_mps, read_ommx
from ommx_prefect.instances._reader_process import Questions, begun_apart, is_running, read_apart
from ommx_prefect.instances._unreadable import Inexpressible, NotInstalled, Unreadable

# Who reads which format, in the order in which they are asked.
READERS = {".mps": ("ommx", "highs", "scip"), ".lp": ("highs", "scip")}
# Two processes take less time than one, though the other has to be started and to send its answer.
LARGE_BYTES = 2_000_000
# And where it is there already, as for the second file of several.
WORTHWHILE_BYTES = 100_000


@dataclass(frozen=True)
class Reading:
    """The result of one reader for a file: a model, or the reason why there is none."""

    reader: str
    model: Matrix | None
    reason: str = ""
    missing_package: str | None = None
    inexpressible: bool = False
    instance: Instance | None = None
    """OMMX's own Instance, where it is the model exactly."""


@contextmanager
def reading_ahead(path: Path, suffix: str) -> Iterator[Questions | None]:
    """Let HiGHS read a large MPS file in another process, while OMMX's loader reads it here."""
    least = WORTHWHILE_BYTES if is_running() else LARGE_BYTES
    if suffix == ".mps" and path.stat().st_size >= least:
        with begun_apart("highs", path) as begun:
            yield begun
    else:
        yield None


def reading(
    reader: str, path: Path, *, is_sound: bool = False, begun: Questions | None = None
) -> Reading:
    """Let a reader read a file.

    Args:
        reader: Its name.
        path: A plain file.
        is_sound: OMMX's loader took the file. It is in Rust and cannot crash; of what it takes,
            HiGHS is not afraid, and may read it here and quickly.
        begun: HiGHS reads it already, in another process.
    """
    try:
        model, instance = _read(reader, path, is_sound, begun)
        _require_numbers(model)
    except NotInstalled as error:
        return Reading(reader, None, error.reason, missing_package=error.package)
    except Unreadable as error:
        reason = error.reason.replace(str(path), "the file")  # of a copy's path nobody knows
        return Reading(reader, None, reason, inexpressible=isinstance(error, Inexpressible))
    except UnicodeDecodeError as error:
        return Reading(reader, None, f"a name it gives is no UTF-8: {error}")
    return Reading(reader, model, instance=instance)


def _read(
    reader: str, path: Path, is_sound: bool, begun: Questions | None
) -> tuple[Matrix, Instance | None]:
    if reader == "ommx":
        instance = load_mps(path)
        model = read_ommx(instance)
        return model, instance if is_exact(instance, model) else None
    if reader == "highs" and begun:
        return begun.model(), None
    return read_highs(path) if reader == "highs" and is_sound else read_apart(reader, path), None


def _require_numbers(model: Matrix) -> None:
    """Refuse a model with coefficients that are not finite, or bounds that are NaN."""
    for terms in (model.entries, model.products, model.row_products):
        if not np.isfinite(terms.values).all():
            raise Unreadable("a coefficient is not finite, infinite or NaN")
    if not np.isfinite([model.constant, *model.costs]).all():
        raise Unreadable("a cost is not finite, infinite or NaN")
    bounds = (model.lower, model.upper, model.row_lower, model.row_upper)
    if any(np.isnan(bound).any() for bound in bounds):
        raise Unreadable("a bound or right side is NaN")
    for names, lower, upper, what in (
        (model.columns, model.lower, model.upper, "column"),
        (model.rows, model.row_lower, model.row_upper, "row"),
    ):
        nowhere = np.flatnonzero((lower == np.inf) | (upper == -np.inf))
        if len(nowhere):
            raise Unreadable(f"{what} {names[nowhere[0]]} has a bound that no finite value meets")
