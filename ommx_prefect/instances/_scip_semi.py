"""Find the lower bounds of semi-continuous columns, which PySCIPOpt does not give.

SCIP keeps `x = 0 or x >= 2` as a disjunction of bounds, and shows it in its own file format only.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ommx_prefect.instances._unreadable import Inexpressible

_NUMBER = r"([-+.\deE]+)"
_SEMI = re.compile(
    rf"\[bounddisjunction\] <semicont_.*>: bounddisjunction\("
    rf"<(.*)>(?:\[.\])? <= 0, <.*>(?:\[.\])? >= {_NUMBER}\);"
)


def semi_continuous(model: Any, disjunctions: list[str]) -> dict[str, float]:
    """Return the lower bound of each semi-continuous column, by its name.

    Raises:
        Inexpressible: A disjunction of bounds is no semi-continuous column.
    """
    if not disjunctions:
        return {}
    found = dict(_SEMI.findall(_in_its_own_format(model)))
    if len(found) != len(disjunctions):
        raise Inexpressible("a disjunction of bounds")
    return {name: float(bound) for name, bound in found.items()}


def _in_its_own_format(model: Any) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.cip")
        model.writeProblem(str(path), verbose=False)
        return path.read_text("utf-8")
