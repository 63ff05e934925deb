"""Make OMMX objects picklable, by pickle and cloudpickle, once `install()` was called.

OMMX 3.0 classes refuse to be pickled, and they claim to live in `builtins`, so that cloudpickle
fails even on a function annotated with one of them. `install` heals both, through `copyreg` and by
giving the classes the name of the module that exports them. What is rebuilt is rebuilt by the
functions of this module, so unpickling in a fresh process imports the package.

Instance, ParametricInstance, Solution and SampleSet travel as OMMX v2 bytes, which hold their
annotations (title, authors, solver, ...) too. Equal State and Samples give equal pickles.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ommx
import ommx._ommx_rust
import ommx.artifact
import ommx.experiment
from ommx.adapter import AdapterNotApplicableError

__all__ = ["OMMX_ENUMS", "KeptReport", "install"]

# The first module that exports a class gives it its name; the last one has them all.
_MODULES = (ommx, ommx.experiment, ommx.artifact, ommx._ommx_rust)
_V2_BYTES = (ommx.Instance, ommx.ParametricInstance, ommx.Solution, ommx.SampleSet)
OMMX_ENUMS = (
    ommx.DecisionVariableRole,
    ommx.Equality,
    ommx.Kind,
    ommx.Optimality,
    ommx.ProvenanceKind,
    ommx.Relaxation,
    ommx.Sense,
    ommx.SpecialConstraintKind,
)

_Term: TypeAlias = "tuple[tuple[int, ...], float]"
_Terms: TypeAlias = "dict[tuple[int, ...], float]"


@dataclass(frozen=True)
class KeptReport:
    """The text of an `InstanceClassMembershipReport`, as it is shown in another process.

    OMMX has no way to build a report, so `error.report` of an unpickled error is one of these:
    the text and the verdict, without the structured `clause_reports`.
    """

    text: str
    is_member: bool
    matching_clauses: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        return self.text


def install() -> None:
    """Make OMMX objects picklable in this process; calling it again changes nothing."""
    for module in _MODULES:
        _claim_classes(module)
    for kind, reduce in _reducers():
        copyreg.pickle(kind, reduce)
    AdapterNotApplicableError.__reduce__ = _reduce_error  # type: ignore[method-assign, assignment]


def _reducers() -> Iterable[tuple[type, Callable[[Any], tuple[Any, ...]]]]:
    yield from ((kind, _reduce_v2) for kind in _V2_BYTES)
    yield from ((kind, _reduce_member) for kind in OMMX_ENUMS)
    yield from ((kind, _reduce_function) for kind in (ommx.Function, *_FROM_TERMS))
    yield ommx.State, _reduce_state
    yield ommx.Samples, _reduce_samples
    yield ommx.Bound, _reduce_bound
    yield ommx.DecisionVariable, _reduce_variable
    yield ommx.InstanceClassMembershipReport, _reduce_report


def _claim_classes(module: Any) -> None:
    """Set `__module__` of every class that a module exports and that says `builtins`."""
    for name, kind in vars(module).items():
        if isinstance(kind, type) and kind.__module__ == "builtins" and kind.__qualname__ == name:
            kind.__module__ = module.__name__


# Each reduction names one of the functions below it, which pickle imports from here.


def _reduce_v2(value: Any) -> tuple[Any, ...]:
    return _from_v2_bytes, (type(value), value.to_v2_bytes())


def _from_v2_bytes(kind: Any, data: bytes) -> Any:
    return kind.from_v2_bytes(data)


def _reduce_member(value: Any) -> tuple[Any, ...]:
    return _member, (type(value), repr(value).rpartition(".")[2])


def _member(kind: Any, name: str) -> Any:
    return getattr(kind, name)


def _reduce_state(state: ommx.State) -> tuple[Any, ...]:
    # From the entries: the order of to_v1_bytes is one of chance, also for equal states.
    return _state, (tuple(sorted(state.entries.items())),)


def _state(entries: Iterable[tuple[int, float]]) -> ommx.State:
    return ommx.State(dict(entries))


def _reduce_samples(samples: ommx.Samples) -> tuple[Any, ...]:
    ids_of: dict[tuple[tuple[int, float], ...], list[int]] = {}
    for sample_id in sorted(samples.sample_ids()):
        entries = tuple(sorted(samples.get_state(sample_id).entries.items()))
        ids_of.setdefault(entries, []).append(sample_id)
    return _samples, (tuple(ids_of.items()),)


def _samples(groups: Iterable[tuple[Iterable[tuple[int, float]], list[int]]]) -> ommx.Samples:
    samples = ommx.Samples({})
    for entries, ids in groups:
        samples.append(ids, _state(entries))
    return samples


def _reduce_bound(bound: ommx.Bound) -> tuple[Any, ...]:
    return _bound, (bound.lower, bound.upper)


def _bound(lower: float, upper: float) -> ommx.Bound:
    return ommx.Bound(lower, upper)


def _reduce_variable(variable: ommx.DecisionVariable) -> tuple[Any, ...]:
    labels = (variable.name or None, variable.subscripts, variable.parameters)
    basics = (variable.id, variable.kind, variable.bound)
    return _variable, (*basics, *labels, variable.description or None)


def _variable(*fields: Any) -> ommx.DecisionVariable:
    return ommx.DecisionVariable(*fields)


def _reduce_function(function: Any) -> tuple[Any, ...]:
    """Reduce a function to its terms; OMMX raises `TypeError` where it is no polynomial."""
    is_general = isinstance(function, ommx.Function)
    terms = function.terms if is_general else function.terms()
    kind = function.type_name if is_general else type(function).__name__
    return _function, (is_general, kind, tuple(sorted(terms.items())))


def _function(is_general: bool, kind: str, items: tuple[_Term, ...]) -> Any:
    builders = {known.__name__: build for known, build in _FROM_TERMS.items()}
    inner = builders[kind](dict(items)) if kind in builders else dict(items).get((), 0.0)
    return ommx.Function(inner) if is_general else inner


def _linear(terms: _Terms) -> ommx.Linear:
    coefficients = {ids[0]: number for ids, number in terms.items() if len(ids) == 1}
    return ommx.Linear(coefficients, terms.get((), 0.0))


def _quadratic(terms: _Terms) -> ommx.Quadratic:
    pairs = {ids: number for ids, number in terms.items() if len(ids) == 2}
    columns, rows = [ids[0] for ids in pairs], [ids[1] for ids in pairs]
    return ommx.Quadratic(columns, rows, list(pairs.values()), _linear(terms))


def _polynomial(terms: _Terms) -> ommx.Polynomial:
    keyed: dict[Sequence[int], float] = dict(terms.items())
    return ommx.Polynomial(keyed)


_FROM_TERMS: dict[type, Callable[[_Terms], Any]] = {
    ommx.Linear: _linear,
    ommx.Quadratic: _quadratic,
    ommx.Polynomial: _polynomial,
}


def _reduce_report(report: ommx.InstanceClassMembershipReport) -> tuple[Any, ...]:
    return KeptReport, (str(report), report.is_member, tuple(report.matching_clauses))


def _reduce_error(error: AdapterNotApplicableError) -> tuple[Any, ...]:
    return _error, (type(error), error.args), vars(error)


def _error(kind: type[AdapterNotApplicableError], args: tuple[Any, ...]) -> Any:
    """Build an error without its __init__, which would write the message a second time."""
    return kind.__new__(kind, *args)
