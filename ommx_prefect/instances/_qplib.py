"""Read QPLIB files with OMMX's loader, and count what it read against the file's own figures.

No other library reads the format (its description: https://qplib.zib.de/doc.html, Furini et al.,
QPLIB: a library of quadratic programming instances, 2019).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ommx import DecisionVariable, Function, Instance, Kind

from ommx_prefect._workarounds.panics import is_panic
from ommx_prefect.exceptions import InstanceFileError

# Letters of a problem's type: no quadratic terms in the objective; no constraints; linear ones.
_LINEAR_OBJECTIVE = "L"
_NO_CONSTRAINTS = "BN"
_LINEAR_CONSTRAINTS = "L"
# And of its variables: all binary, and so without bounds; of several kinds.
_BINARY, _MIXED = "B", "MG"
# A file may state so many of something, whatever its size.
FREE_COUNT = 10_000
CONSTRAINTS = "constraints"
# Lines that begin so are comments.
_COMMENTS = ("!", "%", "#")


def read_qplib(path: Path, source: str) -> Instance:
    """Load an instance whose figures agree with the file's.

    Raises:
        InstanceFileError: It cannot be read, or a figure differs: which, and both values.
    """
    _check_counts(path, source)
    instance = _loaded(path, source)
    for what, told, found in _figures(path, instance):
        if told != found:
            reason = f"the file says {told} {what}, OMMX's loader read {found}"
            if what == CONSTRAINTS and told > found:
                reason += "; it drops rows whose sides are both infinite: take them out of the file"
            raise InstanceFileError(source, reason)
    return _with_fixed_integers(instance)


def _check_counts(path: Path, source: str) -> None:
    """Refuse a file that says it has more of something than it has bytes.

    OMMX's loader makes room for as many, and ends the process where there is none.
    """
    size = path.stat().st_size
    count = 0
    with contextlib.suppress(ValueError, IndexError, RuntimeError):  # which the loader tells better
        count = next((x for x in _counts(path) if x > max(size, FREE_COUNT)), 0)
    if count:
        reason = f"it says that it has {count} variables, rows or terms, in {size} bytes"
        raise InstanceFileError(source, reason)


def _counts(path: Path) -> Iterator[int]:
    """Yield each number that a file states, before what it counts; RuntimeError at its end."""
    lines = _lines(path)
    next(lines)
    kind, _ = next(lines)[0].upper(), next(lines)
    yield _count(lines)
    rows = 0 if kind[2] in _NO_CONSTRAINTS else _count(lines)
    yield rows
    if kind[0] != _LINEAR_OBJECTIVE:
        yield from _skipped(lines)
    next(lines)  # a default
    yield from _skipped(lines)
    next(lines)  # the constant of the objective
    if rows and kind[2] != _LINEAR_CONSTRAINTS:
        yield from _skipped(lines)
    if rows:
        yield from _skipped(lines)
    next(lines)  # what counts as infinite
    for _ in _lists_of_figures(kind, rows):
        next(lines)  # a default
        yield from _skipped(lines)


def _skipped(lines: Iterator[list[str]]) -> Iterator[int]:
    yield (count := _count(lines))
    for _ in range(count):
        next(lines)


def _with_fixed_integers(instance: Instance) -> Instance:
    """Return the instance with integer variables for fixed binary ones.

    OMMX's adapters (3.0.0b7) give each binary variable the bounds 0 and 1.
    """
    variables = [each.detach() for each in instance.decision_variables]
    fixed = [x.kind == Kind.Binary and x.bound.lower == x.bound.upper for x in variables]
    if not any(fixed):
        return instance
    return Instance.from_components(
        decision_variables=[
            DecisionVariable.integer(x.id, lower=x.bound.lower, upper=x.bound.upper, name=x.name)
            if is_fixed
            else x
            for x, is_fixed in zip(variables, fixed, strict=True)
        ],
        objective=instance.objective,
        constraints={key: row.detach() for key, row in instance.constraints.items()},
        sense=instance.sense,
        description=instance.description,
    )


def _loaded(path: Path, source: str) -> Instance:
    try:
        return Instance.load_qplib(str(path))
    except Exception as error:
        raise InstanceFileError(source, f"it cannot be read: {error}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        _refuse_panic(source, error)


def _refuse_panic(source: str, error: BaseException) -> NoReturn:
    reason = f"OMMX's loader cannot read it, and panicked: {error}. Is it whole? Fetch it again"
    raise InstanceFileError(source, reason) from error


def _figures(path: Path, instance: Instance) -> Iterator[tuple[str, int, int]]:
    """Yield each number that the file states: its name, the stated value, and the value found."""
    lines = _lines(path)
    next(lines)
    kind, _ = next(lines)[0].upper(), next(lines)
    columns = _count(lines)
    yield "variables", columns, len(instance.decision_variables)
    rows = 0 if kind[2] in _NO_CONSTRAINTS else _count(lines)
    functions = _functions(instance, rows)
    yield CONSTRAINTS, rows, len(functions)
    if kind[0] != _LINEAR_OBJECTIVE:
        found = len(instance.objective.quadratic_terms)
        yield "quadratic terms of the objective", _skip_terms(lines, 2), found
    yield _each_once("linear terms of the objective", lines)
    next(lines)  # its constant
    if rows and kind[2] != _LINEAR_CONSTRAINTS:
        found = sum(len(function.quadratic_terms) for function in functions)
        yield "quadratic terms of the constraints", _skip_terms(lines, 3), found
    if rows:
        found = sum(len(function.linear_terms) for function in functions)
        yield "linear terms of the constraints", _skip_terms(lines, 2), found
    next(lines)  # what counts as infinite
    for what in _lists_of_figures(kind, rows):
        yield _each_once(what, lines)


def _lists_of_figures(kind: str, rows: int) -> Iterator[str]:
    """Yield the names of the lists that hold only values other than a default."""
    if rows:
        yield from ("lower sides", "upper sides")
    if kind[1] != _BINARY:
        yield from ("lower bounds", "upper bounds")
    if kind[1] in _MIXED:
        yield "kinds of variables"


def _each_once(what: str, lines: Iterator[list[str]]) -> tuple[str, int, int]:
    """Skip a list of values other than a default, and count its different indices."""
    next(lines)
    told = _count(lines)
    return what, told, len({next(lines)[0] for _ in range(told)})


def _functions(instance: Instance, rows: int) -> list[Function]:
    """Return the function of each row: OMMX makes two constraints, i and rows + i, of two sides."""
    constraints = instance.constraints
    return list({key % rows: each.function for key, each in constraints.items()}.values())


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line that is neither empty nor a comment."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith(_COMMENTS):
                yield line.split()


def _count(lines: Iterator[list[str]]) -> int:
    return int(next(lines)[0])


def _skip_terms(lines: Iterator[list[str]], indices: int) -> int:
    """Skip a list of terms with so many indices each, and count those that are not 0."""
    terms = [next(lines) for _ in range(_count(lines))]
    return sum(float(words[indices]) != 0 for words in terms)
