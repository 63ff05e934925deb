"""Find contradictory claims of solvers about one instance: one of them must be wrong.

| kind | claim | against |
|---|---|---|
| `optimum` | an optimal value | another optimal value, or a better feasible objective |
| `bound` | a dual bound | a feasible objective that is better than it |
| `infeasible` | no solution exists | a feasible Solution |
| `unbounded` | the objective has no limit | an optimal value, or a proof of infeasibility |

That a model is unbounded contradicts no Solution that is only feasible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from ommx_prefect.analysis._instances import filled_digests, filled_names
from ommx_prefect.analysis._known import known_values
from ommx_prefect.analysis._tolerance import Tolerance

HAS_SOLUTION = frozenset({"optimal", "feasible"})
# What is known of an instance -> the outcome of a solve that would say so.
KNOWN_AS = {"optimal": "optimal", "best": "feasible", "infeasible": "infeasible"}
KNOWN_AS |= {"unbounded": "unbounded"}
KNOWN = "known value"
# The columns that claims are made of.
SAID = ("instance", "_digest", "outcome", "objective", "dual_bound", "sense", "_by")
Row: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True)
class Contradiction:
    """Two claims about one instance, of which at most one is true."""

    instance: str
    kind: str
    claim_by: str
    claim: str
    against_by: str
    against: str


def contradictions(
    table: pd.DataFrame,
    known: pd.DataFrame | str | Path | None = None,
    *,
    absolute: float = 1e-6,
    relative: float = 1e-4,
) -> pd.DataFrame:
    """Return the claims of solves that contradict each other, or known values.

    Args:
        table: As `solves` returns it. Instances are told apart by name; where one name has
            several digests, by digest, and no known value is used.
        known: What is known: see `known_values`.
        absolute: Values this far apart are the same.
        relative: And values this share of the larger one apart. HiGHS calls a Solution optimal
            within 1e-4.

    Returns:
        A table with the columns `instance`, `kind`, `claim_by`, `claim`, `against_by`, `against`;
        the two `by` are `experiment run adapter`, or `known value`.
    """
    claims = _with_known(table, known_values(known))
    tolerance = Tolerance(absolute, relative)
    found = [asdict(each) for group in _groups(claims) for each in _of_instance(group, tolerance)]
    return pd.DataFrame(found, columns=list(Contradiction.__dataclass_fields__))


def _with_known(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(
        instance=filled_names(table), digest=filled_digests(table), _by=_makers(table)
    )
    digests = table.groupby("instance")["digest"].nunique()
    is_one = table["instance"].map(digests).fillna(0) <= 1
    claims = table.assign(
        _digest=table["digest"].fillna("").where(~is_one, ""),
        outcome=table["outcome"].fillna(""),  # an interrupted solve claims nothing but its bound
    )
    senses = claims.groupby("instance")["sense"].first()
    known = known[known["status"].isin(KNOWN_AS) & known["instance"].isin(senses.index)]
    stated = pd.DataFrame(
        {
            "instance": known["instance"],
            "outcome": known["status"].map(KNOWN_AS),
            "objective": known["objective"],
            "sense": known["instance"].map(senses),
            "_digest": "",
            "_by": KNOWN,
        }
    )
    typed = stated.reindex(columns=claims.columns).astype(claims.dtypes.to_dict())
    return claims if stated.empty else pd.concat([claims, typed], ignore_index=True)


def _makers(table: pd.DataFrame) -> pd.Series:
    parts = [table[name].astype("string").fillna("?") for name in ("experiment", "run", "adapter")]
    return parts[0] + " run " + parts[1] + " " + parts[2]


def _groups(claims: pd.DataFrame) -> list[list[Row]]:
    """Return the claims about each instance; plain rows, for a night has thousands of instances."""
    said = claims.loc[claims["instance"].notna(), list(SAID)]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in said.astype(object).where(said.notna(), None).to_dict("records"):
        groups.setdefault((row["instance"], row["_digest"]), []).append(row)
    return [groups[key] for key in sorted(groups)]


def _of_instance(group: list[Row], tolerance: Tolerance) -> Iterator[Contradiction]:
    sign = -1.0 if any(row["sense"] == "maximize" for row in group) else 1.0
    solved = [x for x in group if x["outcome"] in HAS_SOLUTION and x["objective"] is not None]
    if solved:
        best = min(solved, key=lambda row: float(row["objective"]) * sign)
        yield from _against_solution(group, best, sign, tolerance)
    proof = next((row for row in group if row["outcome"] in ("optimal", "infeasible")), None)
    for row in group:
        if row["outcome"] == "unbounded" and proof is not None:
            yield _found("unbounded", row, "unbounded", proof)


def _against_solution(
    group: list[Row], best: Row, sign: float, tolerance: Tolerance
) -> Iterator[Contradiction]:
    objective = float(best["objective"]) * sign
    for row in group:
        if row["outcome"] == "infeasible":
            yield _found("infeasible", row, "infeasible", best)
        value, bound = row["objective"], row["dual_bound"]
        if row["outcome"] == "optimal" and value is not None:
            if _is_above(float(value) * sign, objective, tolerance):
                yield _found("optimum", row, f"optimal {float(value):.12g}", best)
        elif bound is not None and _is_above(float(bound) * sign, objective, tolerance):
            yield _found("bound", row, f"dual bound {float(bound):.12g}", best)


def _is_above(bound: float, objective: float, tolerance: Tolerance) -> bool:
    """Tell whether a lower bound is above an objective by more than the tolerance."""
    return tolerance.is_exceeded(bound - objective, bound, objective)


def _found(kind: str, row: Row, claim: str, other: Row) -> Contradiction:
    value = other["objective"]
    against = other["outcome"] if value is None else f"{other['outcome']} {float(value):.12g}"
    return Contradiction(row["instance"], kind, row["_by"], claim, other["_by"], against)
