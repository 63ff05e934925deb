"""Read a start solution: values of the same variables, by id or by name.

| the start | its values are |
|---|---|
| `ommx.Solution` | those of its ids; where an id is of another name, those of name and subscripts |
| `ommx.State`, `{id: value}` | by id |
| `ommx.experiment.SealedRun` | its `incumbent`, else its last Solve's Solution, else its `output` |

It is tried on the instance before the solver has it: what is infeasible, or does not give a value
for each variable that is used, is told and left out, or refused where a start is required.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from ommx import Instance, Solution, State
from ommx.experiment import SealedRun

from ommx_prefect._format.model import sha256_digest
from ommx_prefect._solver.telemetry import INCUMBENT

Values: TypeAlias = "dict[int, float]"
StartLike: TypeAlias = "Solution | State | Mapping[int, float] | SealedRun"
Key: TypeAlias = "tuple[str, tuple[int, ...]]"


@dataclass(frozen=True)
class Start:
    """A start that fits an instance.

    Attributes:
        values: A value for each variable that the instance uses.
        whose: What it was, with its digest.
        solution: What it is in the instance.
    """

    values: Values
    whose: str
    solution: Solution

    @property
    def objective(self) -> float:
        """Its objective value in the instance."""
        return float(self.solution.objective)


class UnfitStartError(ValueError):
    """A start that is not one of this instance."""


def start_of(start: object, instance: Instance) -> Start:
    """Return a start for an instance.

    Raises:
        UnfitStartError: It is infeasible, or of other variables.
    """
    found = solution_in(start) if isinstance(start, SealedRun) else start
    values, how = _values_of(found, instance)
    used = [variable.id for variable in instance.used_decision_variables]
    missing = [number for number in used if number not in values]
    if missing:
        raise UnfitStartError(f"it has no value for {len(missing)} of {len(used)} variables")
    fitting = {number: values[number] for number in used}
    if odd := [number for number, value in fitting.items() if not math.isfinite(value)]:
        raise UnfitStartError(f"its value for variable {odd[0]} is {fitting[odd[0]]}")
    solution = instance.evaluate(fitting)
    if not solution.feasible:
        raise UnfitStartError("it is infeasible")
    return Start(fitting, f"{_kind_of(start)} {_digest(found)} by {how}", solution)


def solution_in(run: SealedRun) -> Solution:
    """Return the Solution of a Run; UnfitStartError where it has none."""
    if (incumbent := _attached(run, INCUMBENT)) is not None:
        return incumbent
    for solve in reversed(run.solves):
        if solve.output is not None:
            return solve.output
    if (output := _attached(run, "output")) is not None:
        return output
    raise UnfitStartError("its Run has no Solution")


def _attached(run: SealedRun, name: str) -> Solution | None:
    try:
        return run.get_solution(name) if name in run.attachment_names else None
    except ValueError:  # a user's own, of another kind
        return None


def _values_of(start: object, instance: Instance) -> tuple[Values, str]:
    if isinstance(start, Solution):
        return _by_id_or_name(start, instance)
    if isinstance(start, State):
        return dict(start.entries), "id"
    if isinstance(start, Mapping):
        return _by_id(start), "id"
    raise UnfitStartError("it is no solution")


def _by_id(start: Mapping[int, float]) -> Values:
    try:
        return {int(x): float(y) for x, y in start.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise UnfitStartError(f"it is no mapping of ids to numbers: {error}") from error


def require_start(start: object) -> None:
    """Raise TypeError where a start is none of the kinds that are taken."""
    if not isinstance(start, (Solution, State, Mapping, SealedRun)):
        raise TypeError(
            f"start is of type {type(start).__name__}. Pass an ommx.Solution, an ommx.State, "
            "a mapping {variable id: value}, or a Run of a sealed experiment"
        )


def _by_id_or_name(solution: Solution, instance: Instance) -> tuple[Values, str]:
    values = dict(solution.state.entries)
    names = {x.id: _key(x.name, x.subscripts) for x in solution.decision_variables}
    wanted = {x.id: _key(x.name, x.subscripts) for x in instance.used_decision_variables}
    if all(x in values and (not y[0] or names.get(x) == y) for x, y in wanted.items()):
        return values, "id"
    known = {key: number for number, key in names.items() if key[0]}
    if len(known) < len(names):  # without names, or one name for two
        return values, "id"
    return {x: values[known[y]] for x, y in wanted.items() if y in known}, "name"


def _key(name: object, subscripts: object) -> Key:
    return str(name or ""), tuple(cast("list[int]", subscripts))


def _kind_of(start: object) -> str:
    if isinstance(start, SealedRun):
        return f"run {start.run_id}"
    return {Solution: "solution", State: "state"}.get(type(start), "values")


def _digest(start: object) -> str:
    if isinstance(start, Solution):
        data = start.to_v2_bytes()
    else:
        values = start.entries if isinstance(start, State) else cast(Mapping[int, float], start)
        data = json.dumps(sorted((int(x), float(y)) for x, y in values.items())).encode()
    return sha256_digest(data)
