"""Write the content of an instance as one JSON text, without building a tree of lists.

`json.dumps` of nested lists takes seven times as long where an instance has 100,000 entries; the
text is the same, character by character, as that of release 0.1 (`tests/instances`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ommx import Function, ParametricInstance

from ommx_prefect.instances._dependent_variables import AnyInstance, dependent_functions

FORMAT = "ommx-prefect.instance/1"
"""Part of what is hashed: a later release that counts other things gives other digests."""

# How each kind of constraint is read, besides its id, its labels and the reason of its removal.
_BODIES: dict[str, tuple[str, ...]] = {
    "constraints": ("equality", "function"),
    "indicator_constraints": ("indicator_variable_id", "equality", "function"),
    "one_hot_constraints": ("variables",),
    "sos1_constraints": ("variables",),
}
_NO_LABELS = '["",[],[],""]'


def content_of(instance: AnyInstance, data: bytes) -> str:
    """Return the content of an instance as JSON text, independent of the order of terms.

    Args:
        instance: The instance.
        data: Its `to_v2_bytes()`.
    """
    return _listed(_parts(instance, data, _Numbers()))


class _Numbers(dict[float, str]):
    """The text of each number; an instance has few different ones."""

    def __missing__(self, value: float) -> str:
        text = self[value] = f'"{(value + 0.0).hex()}"'  # the sum turns -0.0 into 0.0
        return text


def _parts(instance: AnyInstance, data: bytes, numbers: _Numbers) -> Iterable[str]:
    yield _json(FORMAT)
    yield _json(type(instance).__name__)
    yield _json(str(instance.sense))
    yield _function(instance.objective, numbers)
    yield _output_objective(instance, numbers)
    yield _by_id((each.id, _variable(each, numbers)) for each in instance.decision_variables)
    yield _listed(_constraints(instance, kind, body, numbers) for kind, body in _BODIES.items())
    yield _by_id(
        (key, f"[{key},{_function(value, numbers)}]")
        for key, value in dependent_functions(instance, data).items()
    )
    yield _by_id(
        (f.id, f"[{f.id},{_function(f.function, numbers)},{_labels(f)}]")
        for f in instance.named_functions
    )
    yield _by_id((p.id, f"[{p.id},{_labels(p)}]") for p in _parameters(instance))


def _function(function: Function | bytes, numbers: _Numbers) -> str:
    if isinstance(function, bytes):
        return _json(function.hex())
    degree = function.degree()
    if degree is not None and degree <= 1:
        return _linear(function, numbers)
    try:
        terms = function.terms
    except TypeError:  # not a polynomial; OMMX prints it exactly, monomials in order
        return _json(str(function))
    ordered = sorted((tuple(sorted(ids)), value) for ids, value in terms.items() if value)
    return _listed(f"[{_json(ids)},{numbers[value]}]" for ids, value in ordered)


def _linear(function: Function, numbers: _Numbers) -> str:
    constant = function.constant_term
    terms = sorted(function.linear_terms.items()) if function.degree() else ()
    entries = [f"[[{variable}],{numbers[value]}]" for variable, value in terms if value]
    return _listed([f"[[],{numbers[constant]}]", *entries] if constant else entries)


def _output_objective(instance: AnyInstance, numbers: _Numbers) -> str:
    output = instance.output_objective
    if output is None:
        return "null"
    function = _function(output.function, numbers)
    return f"[{_json(str(output.sense))},{function},{_json(output.preserves_optimality)}]"


def _variable(variable: Any, numbers: _Numbers) -> str:
    bound, value = variable.bound, variable.substituted_value
    fixed = "null" if value is None else numbers[value]
    bounds = f"[{numbers[bound.lower]},{numbers[bound.upper]}]"
    return f'[{variable.id},"{variable.kind}",{bounds},{fixed},{_labels(variable)}]'


def _constraints(instance: AnyInstance, kind: str, body: tuple[str, ...], numbers: _Numbers) -> str:
    active: Mapping[int, Any] = getattr(instance, kind)
    removed: Mapping[int, Any] = getattr(instance, f"removed_{kind}")
    standing = _by_id(
        (key, f"[{key},{_body(item, body, numbers)}]") for key, item in active.items()
    )
    gone = _by_id(
        (key, f"[{key},{_body(item, body, numbers)},{_reason(item)}]")
        for key, item in removed.items()
    )
    return f"[{standing},{gone}]"


def _body(constraint: Any, body: tuple[str, ...], numbers: _Numbers) -> str:
    # A removed indicator constraint shows its labels only through its `constraint`.
    labelled = constraint if hasattr(constraint, "name") else constraint.constraint
    parts = [_part(getattr(constraint, name), numbers) for name in body]
    return ",".join([*parts, _labels(labelled)])


def _part(value: object, numbers: _Numbers) -> str:
    if isinstance(value, Function):
        return _function(value, numbers)
    # Words of OMMX and ids: nothing to be escaped.
    return _json(sorted(value)) if isinstance(value, list) else f'"{value}"'


def _reason(removed: Any) -> str:
    reasons = sorted(removed.removed_reason_parameters.items())
    return f"{_json(removed.removed_reason)},{_json(reasons)}"


def _labels(item: Any) -> str:
    name, subscripts, parameters = item.name, item.subscripts, item.parameters
    description = item.description
    if not (name or subscripts or parameters or description):
        return _NO_LABELS
    return _json([name or "", subscripts, sorted(parameters.items()), description or ""])


def _parameters(instance: AnyInstance) -> Iterable[Any]:
    return instance.parameters if isinstance(instance, ParametricInstance) else ()


def _by_id(texts: Iterable[tuple[int, str]]) -> str:
    return _listed(text for _, text in sorted(texts))


def _listed(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
