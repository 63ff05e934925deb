"""Read a HiGHS solution as one vector, not once for each variable as the adapter does.

`OMMXHighsAdapter.decode_to_state` (ommx-highs-adapter 3.0.0b7) asks `solution.col_value[i]` for
each variable, and highspy hands out `col_value` as a new Python list each time: with n variables
n * n numbers are copied, 23 seconds for 40,000 variables. Here the adapter is given a solution
whose list was read once; all else it does is its own. `is_read_repeatedly` tries the adapter's
own function on a solution that counts, and where it reads once nothing is changed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

_METHOD = "decode_to_state"
Decode = Callable[[Any, Any], Any]


def heal_decode(adapter: type) -> None:
    """Let an adapter class read each solution once."""
    plain: Decode | None = vars(adapter).get(_METHOD)
    if plain is None or hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def decode_to_state(self: Any, data: Any) -> Any:
        return plain(self, _ReadOnce(data) if is_read_repeatedly(plain) else data)

    setattr(adapter, _METHOD, decode_to_state)


@functools.cache
def is_read_repeatedly(decode: Decode) -> bool:
    """Tell whether a `decode_to_state` reads the solution of two variables more than once."""
    solution = _Counting()
    model = SimpleNamespace(getModelStatus=lambda: None, getSolution=lambda: solution)
    variables = [SimpleNamespace(id=number) for number in range(2)]
    try:
        decode(
            SimpleNamespace(instance=SimpleNamespace(used_decision_variables=variables)),
            model,
        )
    except Exception:  # it works in another way
        return False
    return solution.reads > 1


class _Counting:
    """A solution of two variables that counts how often it is read."""

    reads = 0

    @property
    def col_value(self) -> list[float]:
        self.reads += 1
        return [0.0, 0.0]


class _ReadOnce:
    """A HiGHS model whose solution is a snapshot.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def getSolution(self) -> Any:
        """Return a solution whose values are read already."""
        return SimpleNamespace(col_value=list(self._model.getSolution().col_value))
