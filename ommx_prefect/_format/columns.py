"""Give run parameters the names under which they were logged, where a column was split by type.

A column of run parameters has one type in a whole experiment. Where a parameter came with several,
`compose` keeps the name for the type that the first Run has, and moves the others to `name:type`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ommx_prefect._format.model import COLUMN_TYPES


def split_columns(columns: Collection[str]) -> dict[str, str]:
    """Return the columns that were split off, found by their names, and the logged name of each."""
    logged = {name: name.rstrip("'").rpartition(":") for name in columns if ":" in name}
    return {
        name: base
        for name, (base, _, kind) in logged.items()
        if kind in COLUMN_TYPES and base in columns
    }


def logged_names(parameters: Mapping[str, Any], split: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the parameters of a Run under the names by which they were logged.

    A Run that has both names logged both itself, and keeps them.

    Args:
        parameters: What the Run has in which column; values of plain Python.
        split: The columns of its experiment that were split off: see `split_columns`.
    """
    if split.keys().isdisjoint(parameters):
        return parameters
    return {_logged(x, value, parameters, split): value for x, value in parameters.items()}


def _logged(name: str, value: Any, parameters: Mapping[str, Any], split: Mapping[str, str]) -> str:
    logged = split.get(name, name)
    kind = COLUMN_TYPES.get(name.rstrip("'").rpartition(":")[2])
    return name if logged in parameters or kind is not type(value) else logged
