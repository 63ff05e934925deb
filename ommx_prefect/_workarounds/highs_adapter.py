"""Apply the workarounds for OMMX's HiGHS adapter when its class is created.

Python tells a base class of each subclass (`__init_subclass__`), so the adapter is found whoever
imports it, before or after this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ommx.adapter import SolverAdapter

from ommx_prefect._workarounds.highs_decode import heal_decode
from ommx_prefect._workarounds.highs_rows import heal_rows

_MODULE, _CLASS = "ommx_highs_adapter.adapter", "OMMXHighsAdapter"


def heal_highs_adapter() -> None:
    """Patch the adapter, now if it is imported, else when it will be; idempotent."""
    if "__init_subclass__" not in vars(SolverAdapter):
        SolverAdapter.__init_subclass__ = _MADE  # type: ignore[assignment, method-assign]
    for adapter in _subclasses(SolverAdapter):  # type: ignore[type-abstract]
        _mend(adapter)


def _init_subclass(adapter: type[SolverAdapter], /, **options: Any) -> None:
    super(SolverAdapter, adapter).__init_subclass__(**options)
    _mend(adapter)


_MADE = classmethod(_init_subclass)


def _mend(adapter: type[SolverAdapter]) -> None:
    if (adapter.__module__, adapter.__qualname__) == (_MODULE, _CLASS):
        heal_decode(adapter)
        heal_rows(adapter)


def _subclasses(kind: type[SolverAdapter]) -> Iterator[type[SolverAdapter]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
