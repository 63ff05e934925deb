"""Map the exceptions of adapters to outcomes: one table from foreign errors to ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ommx import Equality, InfeasibleDetected, Instance, PreparationTargetNotReachedError
from ommx.adapter import (
    AdapterNotApplicableError,
    NoSolutionReturned,
    SolverAdapter,
    UnboundedDetected,
)

from ommx_prefect._workarounds.panics import is_panic
from ommx_prefect._workarounds.unencoded import is_unencoded
from ommx_prefect.exceptions import (
    InfeasibleError,
    NoSolutionError,
    NotApplicableError,
    OmmxPrefectError,
    SolveOutcomeError,
    SolverError,
    UnboundedError,
)

_OUTCOMES: tuple[tuple[type[Exception], type[SolveOutcomeError]], ...] = (
    (InfeasibleDetected, InfeasibleError),
    (UnboundedDetected, UnboundedError),
    (NoSolutionReturned, NoSolutionError),
    (AdapterNotApplicableError, NotApplicableError),
    (PreparationTargetNotReachedError, NotApplicableError),
)
# What a SamplerAdapter's own `solve` raises, as a bare ValueError, when no sample is feasible.
_NO_FEASIBLE_SAMPLE = "No feasible solution found"
# By how much OMMX lets a constraint be violated, as `ommx.get_default_atol` has it.
_TOLERANCE = 1e-6

ErrorOf = Callable[[type[SolveOutcomeError], str], SolveOutcomeError]


@contextmanager
def translated(
    error_of: ErrorOf, adapter: type[SolverAdapter], instance: Instance
) -> Iterator[None]:
    """Turn what an adapter raises into our errors, a panic of OMMX's Rust core included.

    Interruptions, timeouts and our own errors pass as they are.
    """
    try:
        yield
    except (OmmxPrefectError, TimeoutError):
        raise
    except Exception as error:
        raise error_of(_kind(error, adapter, instance), _message_of(error)) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise error_of(SolverError, f"OMMX's Rust core panicked: {_message_of(error)}") from error


def prepared_for(adapter: type[SolverAdapter], instance: Instance) -> Instance | None:
    """Return the instance or a copy prepared as by the adapter's own `solve`; None if it cannot."""
    if adapter.check_applicability(instance).is_member:
        return instance
    prepared = copy.copy(instance)
    try:
        prepared.prepare(adapter.INPUT_CLASS, adapter.recommended_preparation_policy())
    except RuntimeError:
        return None
    return prepared


def _kind(
    error: Exception, adapter: type[SolverAdapter], instance: Instance
) -> type[SolveOutcomeError]:
    if isinstance(error, InfeasibleDetected) and is_unencoded(str(error)):
        return NotApplicableError
    for foreign, ours in _OUTCOMES:
        if isinstance(error, foreign):
            return ours
    if isinstance(error, ValueError) and str(error) == _NO_FEASIBLE_SAMPLE:
        return NoSolutionError
    # Adapters refuse a constraint without variables that does not hold by a bare error, and the
    # preparation refuses what it cannot encode by another.
    if _contradicts_itself(instance):
        return InfeasibleError
    return SolverError if prepared_for(adapter, instance) is not None else NotApplicableError


def _contradicts_itself(instance: Instance) -> bool:
    return any(
        abs(value) > _TOLERANCE if equality == Equality.EqualToZero else value > _TOLERANCE
        for function, equality in (
            (constraint.function, constraint.equality)
            for constraint in instance.constraints.values()
        )
        if function.degree() == 0
        for value in [function.constant_term]
    )


def _message_of(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
