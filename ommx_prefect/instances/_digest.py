"""What is the content of an instance? A digest that no order of terms and no round trip changes.

OMMX keeps terms in hash maps: `to_v2_bytes` differs between two loads of one file. Here every part
is sorted by id before it is hashed.

Counted: sense, objective (and the output objective), variables (id, kind, bounds, fixed value),
constraints of every kind with their ids, removed ones with the reason, functions of dependent
variables, named functions, parameters. The labels of variables and constraints (name, subscripts,
parameters, description) count too: a Solution carries them, so an instance with other labels must
not be answered with its Solution. Title, description, licence, authors and annotations do not
count, nor does provenance: they say where an instance comes from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ommx import Function, Instance, ParametricInstance

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


def instance_digest(instance: AnyInstance) -> str:
    """Return the content digest of an Instance or a ParametricInstance, `sha256:<hex>`.

    Floats count exactly (-0.0 is 0.0), monomials with coefficient zero do not count. Functions
    that are not polynomials count as they are written: `max(a, b)` is not `max(b, a)`.
    """
    document = json.dumps(_document(instance), separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(document).hexdigest()}"


def register_cache_keys() -> None:
    """Let Prefect's `INPUTS` cache policy see instances by their digest.

    Prefect looks up the type of every task argument in `STABLE_TRANSFORMS` before it hashes it, for
    values whose pickles are not stable. Instances inside lists or dicts are not looked up.
    """
    from prefect.cache_policies import STABLE_TRANSFORMS

    STABLE_TRANSFORMS[Instance] = instance_digest
    STABLE_TRANSFORMS[ParametricInstance] = instance_digest


def _document(instance: AnyInstance) -> list[object]:
    return [
        FORMAT,
        type(instance).__name__,
        str(instance.sense),
        _function(instance.objective),
        _output_objective(instance),
        sorted(_variable(variable) for variable in instance.decision_variables),
        [_constraints(instance, kind, body) for kind, body in _BODIES.items()],
        sorted([key, _function(value)] for key, value in dependent_functions(instance).items()),
        sorted([f.id, _function(f.function), _labels(f)] for f in instance.named_functions),
        sorted([p.id, _labels(p)] for p in _parameters(instance)),
    ]


def _function(function: Function | bytes) -> object:
    if isinstance(function, bytes):
        return function.hex()
    try:
        terms = function.terms
    except TypeError:  # not a polynomial; OMMX prints it exactly, monomials in order
        return str(function)
    return sorted([sorted(ids), _number(value)] for ids, value in terms.items() if value)


def _output_objective(instance: AnyInstance) -> object:
    output = instance.output_objective
    if output is None:
        return None
    return [str(output.sense), _function(output.function), output.preserves_optimality]


def _variable(variable: Any) -> list[object]:
    bound, value = variable.bound, variable.substituted_value
    fixed = None if value is None else _number(value)
    bounds = [_number(bound.lower), _number(bound.upper)]
    return [variable.id, str(variable.kind), bounds, fixed, _labels(variable)]


def _constraints(instance: AnyInstance, kind: str, body: tuple[str, ...]) -> list[object]:
    active: Mapping[int, Any] = getattr(instance, kind)
    removed: Mapping[int, Any] = getattr(instance, f"removed_{kind}")
    return [
        sorted([key, *_body(item, body)] for key, item in active.items()),
        sorted([key, *_body(item, body), *_reason(item)] for key, item in removed.items()),
    ]


def _body(constraint: Any, body: tuple[str, ...]) -> list[object]:
    # A removed indicator constraint shows its labels only through its `constraint`.
    labelled = constraint if hasattr(constraint, "name") else constraint.constraint
    return [*(_part(getattr(constraint, name)) for name in body), _labels(labelled)]


def _part(value: object) -> object:
    if isinstance(value, Function):
        return _function(value)
    return sorted(value) if isinstance(value, list) else str(value)


def _reason(removed: Any) -> list[object]:
    return [removed.removed_reason, sorted(removed.removed_reason_parameters.items())]


def _labels(item: Any) -> list[object]:
    parameters = sorted(item.parameters.items())
    return [item.name or "", item.subscripts, parameters, item.description or ""]


def _parameters(instance: AnyInstance) -> Iterable[Any]:
    return instance.parameters if isinstance(instance, ParametricInstance) else ()


def _number(value: float) -> str:
    return (value + 0.0).hex()  # the sum turns -0.0 into 0.0
