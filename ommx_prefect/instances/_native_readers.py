"""The readers that are libraries in C or C++, which may crash or hang on a damaged file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ommx_prefect.instances._highs_reader import read_highs
from ommx_prefect.instances._matrix import Matrix
from ommx_prefect.instances._scip_reader import read_scip

NATIVE_READERS: dict[str, Callable[[Path], Matrix]] = {"highs": read_highs, "scip": read_scip}
