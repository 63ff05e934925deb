"""Pass all rows to HiGHS at once, and let a warning of HiGHS not end the solve.

`OMMXHighsAdapter` (ommx-highs-adapter 3.0.0b7, highspy 1.16) adds each row by `addConstr`, which
raises `HighsStatusError` for a *warning*, too. HiGHS warns where it leaves out a coefficient below
its `small_matrix_value` (1e-9), and solves: one such coefficient ended every solve as an error.
Here the adapter's own loop runs on a model that collects its rows; they are added by one call, and
a warning is told (`notices`). Expressions are made from arrays and not by an object for each term.

`ends_at_a_warning` tries the adapter's own code on one such row; where it builds, or where the
adapter works in another way, nothing is changed.
"""

from __future__ import annotations

import contextvars
import functools
import sys
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np
from ommx import DecisionVariable, Instance, Linear, Sense

from ommx_prefect._workarounds.notices import tell

_ROWS, _EXPRESSION = "_set_constraints", "_linear_expr_conversion"
_HEALED = "__ommx_prefect_healed__"
Method = Callable[..., Any]


def heal_rows(adapter: type) -> None:
    """Let an adapter class add its rows together."""
    rows, expression = vars(adapter).get(_ROWS), vars(adapter).get(_EXPRESSION)
    if rows is None or expression is None or hasattr(rows, _HEALED):
        return
    plain = type(adapter.__name__, (adapter,), {_ROWS: rows, _EXPRESSION: expression})

    @functools.wraps(rows)
    def set_constraints(self: Any) -> None:
        if ends_at_a_warning(plain):
            _add_together(self, rows)
        else:
            rows(self)

    @functools.wraps(expression)
    def linear_expression(self: Any, function: Any) -> Any:
        if function.degree() == 1 and ends_at_a_warning(plain):
            return _expression(self, function)
        return expression(self, function)

    for name, method in ((_ROWS, set_constraints), (_EXPRESSION, linear_expression)):
        setattr(method, _HEALED, True)
        setattr(adapter, name, method)


@functools.cache
def ends_at_a_warning(adapter: type) -> bool:
    """Tell whether an adapter's own code refuses a model for a coefficient HiGHS leaves out."""
    x = DecisionVariable.binary(0)
    instance = Instance.from_components(
        decision_variables=[x, DecisionVariable.binary(1)],
        objective=x,
        constraints={0: Linear({0: 1.0, 1: 1e-10}) <= 1.0},
        sense=Sense.Minimize,
    )
    try:
        # In no task's context: what is tried here is no input of a task.
        contextvars.Context().run(adapter, instance)
    except Exception as error:
        return type(error).__name__ == "HighsStatusError"
    return False


def _expression(adapter: Any, function: Any) -> Any:
    terms = function.linear_terms
    columns = adapter.highs_vars
    made = sys.modules["highspy.highs"].highs_linear_expression()
    made.idxs = [columns[variable].index for variable in terms]
    made.vals = list(terms.values())
    made.constant = function.constant_term
    return made


def _add_together(adapter: Any, build: Method) -> None:
    model, adapter.model = adapter.model, (rows := _Rows(adapter.model))
    try:
        build(adapter)
    finally:
        adapter.model = model
    rows.add()


class _Rows:
    """A HiGHS model that keeps the rows it is given until they are added together.

    Args:
        model: The model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._names: list[str] = []
        self._bounds: list[tuple[float, float]] = []
        self._starts: list[int] = []
        self._columns: list[int] = []
        self._values: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def addConstr(self, row: Any, name: str) -> None:
        """Keep a row, its entries in the order of columns."""
        self._names.append(name)
        self._bounds.append(row.bounds)
        self._starts.append(len(self._columns))
        for column, value in sorted(zip(row.idxs, row.vals, strict=True)):
            self._columns.append(column)
            self._values.append(value)

    def add(self) -> None:
        """Add the rows to the model, and tell what HiGHS warns of.

        Raises:
            HighsStatusError: HiGHS refuses them.
        """
        before = self._model.getNumRow(), self._model.getNumNz()
        status = self._status()
        if status.name == "kError":
            refusal = sys.modules["highspy.highs"].HighsStatusError
            raise refusal(f"Error adding constraint to the model.{self._too_large()}", status)
        for number, name in enumerate(self._names, before[0]):
            self._model.passRowName(number, name)
        if status.name == "kWarning":
            tell(self._warning(len(self._values) + before[1] - self._model.getNumNz()))

    def _status(self) -> Any:
        lower, upper = np.array(self._bounds, dtype=np.float64).reshape(-1, 2).T
        return self._model.addRows(
            len(self._names),
            np.ascontiguousarray(lower),
            np.ascontiguousarray(upper),
            len(self._values),
            np.array(self._starts, dtype=np.int32),
            np.array(self._columns, dtype=np.int32),
            np.array(self._values, dtype=np.float64),
        )

    def _too_large(self) -> str:
        limit = self._model.getOptions().large_matrix_value
        at = next((at for at, value in enumerate(self._values) if abs(value) >= limit), None)
        if at is None:
            return ""
        row = self._names[bisect_right(self._starts, at) - 1]
        value = self._values[at]
        return f" Its coefficient {value:g} in constraint {row} is not below {limit:g}: it"

    def _warning(self, dropped: int) -> str:
        if not dropped:
            return "HiGHS warned while the constraints were added to its model"
        least = self._model.getOptions().small_matrix_value
        return (
            f"HiGHS leaves out {dropped} of {len(self._values)} coefficients of the constraints: "
            f"their size is not above its small_matrix_value, {least:g}"
        )
