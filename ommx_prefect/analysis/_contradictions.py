"""Find contradictory claims of solvers about one instance: one of them must be wrong.

| kind | claim | against |
|---|---|---|
| `optimum` | an optimal value | another optimal value, or a better feasible objective |
| `bound` | a dual bound | a feasible objective that is better than it |
| `infeasible` | no solution exists | a feasible Solution |
| `unbounded` | the objective has no limit | an optimal value, a dual bound, *infeasible* |

That a model is unbounded contradicts no Solution that is only feasible. The best solution of a
solve that was interrupted is a Solution, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from ommx_prefect.analysis._instances import filled_digests, filled_names
from ommx_prefect.analysis._known import known_values, solu_name
from ommx_prefect.analysis._logged import HAS_SOLUTION
from ommx_prefect.analysis._pairs import instance_keys
from ommx_prefect.analysis._tolerance import Tolerance

# What is known of an instance -> the outcome of a solve that would say so.
KNOWN_AS = {"optimal": "optimal", "best": "feasible", "infeasible": "infeasible"}
KNOWN_AS |= {"unbounded": "unbounded"}
KNOWN = "known value"
# What a solve is called here that was interrupted when it had a solution.
INTERRUPTED = "interrupted"
FOUND = HAS_SOLUTION | {INTERRUPTED}
# Outcomes of a solve that may have a dual bound, and no proof.
UNPROVED = frozenset({"feasible", "no_solution", INTERRUPTED, ""})
# What counts, as `attrs` say it.
FILTER = "solves whose instance is known, also interrupted ones that left a solution or a bound"
# The columns that claims are made of.
SAID = ("instance", "_content", "outcome", "objective", "dual_bound", "sense", "_by", "_solver")
# And with the instance, those that tell one solver of two nights from another.
SOLVER = ("adapter", "variant", "seed")
Row: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, kw_only=True)
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
    earlier: Sequence[pd.DataFrame] = (),
    absolute: float = 1e-6,
    relative: float = 1e-4,
) -> pd.DataFrame:
    """Return the claims of solves that contradict each other, or known values.

    Args:
        table: As `solves` returns it. Instances are told apart by digest, whatever they are called,
            and without one by name. Where one name has several digests, no known value is used.
        known: What is known: see `known_values`.
        earlier: Tables of earlier nights, for what a solve of one of these and a solve of `table`
            say against each other. Not where both are of one solver, variant and seed: that is a
            row of `compare`.
        absolute: Values this far apart are the same.
        relative: And values this share of the larger one apart. HiGHS calls a Solution optimal
            within 1e-4.

    Returns:
        A table with the columns `instance`, `kind`, `claim_by`, `claim`, `against_by`, `against`;
        the two `by` are `experiment run adapter`, or `known value`. Its `attrs` say the filter, the
        tolerances, and how many solves were compared.
    """
    nights = [*earlier, table]
    keys = instance_keys(nights) if earlier else [filled_names(table)]
    *before, own = _with_contents(list(map(_claims, nights, keys)))
    others, tolerance = _groups(*before), Tolerance(absolute, relative)
    groups = _groups(own, _known(own, known_values(known)))
    found = [
        asdict(each)
        for content, group in sorted(groups.items(), key=_by_name)
        for each in _of_instance(group, others.get(content, []), tolerance)
    ]
    result = pd.DataFrame(found, columns=list(Contradiction.__dataclass_fields__))
    solves = sum(map(len, (*before, own)))
    result.attrs = {"filter": FILTER, "absolute": absolute, "relative": relative, "solves": solves}
    return result


def _claims(table: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
    """Return what the solves of a night claim; an interrupted one claims its solution and bound.

    Args:
        table: The night.
        keys: The instances of its rows, as they are paired with those of other nights.
    """
    solver = [keys, *(table[name].astype("string").fillna("") for name in SOLVER)]
    claims = table.assign(
        instance=filled_names(table),
        outcome=table["outcome"].fillna("").mask(_is_cut_off(table), INTERRUPTED),
        _by=_makers(table),
        _solver=list(zip(*solver, strict=True)),
        _content=_only_content(filled_digests(table), filled_names(table)),
    )
    return claims.loc[claims["instance"].notna(), list(SAID)]


def _is_cut_off(table: pd.DataFrame) -> pd.Series:
    """Tell which solves were interrupted, and left their best solution."""
    return table["outcome"].isna() & table["objective"].notna()


def _only_content(contents: pd.Series, names: pd.Series) -> pd.Series:
    """Return contents, and for one that is missing the only one of its name; else missing."""
    of_name = contents.groupby(names)
    return contents.fillna(of_name.transform("first").where(of_name.transform("nunique") == 1))


def _with_contents(nights: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return nights in which each content is known, by that of other nights, or by its name."""
    numbered = [claims.assign(_night=number) for number, claims in enumerate(nights)]
    every = pd.concat(numbered, ignore_index=True)
    contents = _only_content(every["_content"], every["instance"]).fillna(every["instance"])
    every = every.assign(_content=contents)
    return [every[every["_night"] == number] for number in range(len(nights))]


def _known(claims: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return known values as claims about the instances that have one content.

    A name with blanks is known by that of a `.solu` file, too.
    """
    by_name = claims.groupby("instance")
    contents = by_name["_content"].first()[by_name["_content"].nunique() == 1]
    names = {solu_name(name): name for name in contents.index} | {x: x for x in contents.index}
    known = known.assign(instance=known["instance"].map(names))
    known = known[known["status"].isin(KNOWN_AS) & known["instance"].notna()]
    stated = {
        "instance": known["instance"],
        "_content": known["instance"].map(contents),
        "outcome": known["status"].map(KNOWN_AS),
        "objective": known["objective"],
        "sense": known["instance"].map(by_name["sense"].first()),
        "_by": KNOWN,
    }
    return pd.DataFrame(stated).reindex(columns=list(SAID))


def _makers(table: pd.DataFrame) -> pd.Series:
    parts = [table[name].astype("string").fillna("?") for name in ("experiment", "run", "adapter")]
    return parts[0] + " run " + parts[1] + " " + parts[2]


def _groups(*nights: pd.DataFrame) -> dict[str, list[Row]]:
    """Return the claims about each content; plain rows, for a night has thousands of instances."""
    groups: dict[str, list[Row]] = {}
    for claims in nights:
        for row in claims.astype(object).where(claims.notna(), None).to_dict("records"):
            groups.setdefault(row["_content"], []).append(row)
    return groups


def _by_name(group: tuple[str, list[Row]]) -> tuple[str, str]:
    content, (first, *_) = group
    return first["instance"], content


def _of_instance(
    own: list[Row], earlier: list[Row], tolerance: Tolerance
) -> Iterator[Contradiction]:
    is_maximised = any(row["sense"] == "maximize" for row in (*own, *earlier))
    sign = -1.0 if is_maximised else 1.0
    yield from _between(own, own, sign, tolerance)
    if not earlier:
        return
    solved = [row for row in own if row["_by"] != KNOWN]
    for claims, others in ((solved, earlier), (earlier, solved)):
        yield from _between(claims, others, sign, tolerance, is_one_night=False)


def _between(
    claims: list[Row],
    others: list[Row],
    sign: float,
    tolerance: Tolerance,
    *,
    is_one_night: bool = True,
) -> Iterator[Contradiction]:
    """Yield what claims say against the best of other solves, each once."""
    found = [x for x in others if x["outcome"] in FOUND and x["objective"] is not None]
    found.sort(key=lambda row: float(row["objective"]) * sign)
    proofs = [x for x in others if x["outcome"] in ("optimal", "infeasible")]
    proofs += [x for x in others if x["outcome"] in UNPROVED and _is_bound(x["dual_bound"])]
    for row in claims:
        solver = object() if is_one_night else row["_solver"]
        best, proof = (_first(rows, solver) for rows in (found, proofs))
        if best is not None:
            yield from _against_solution(row, best, sign, tolerance)
        if row["outcome"] == "unbounded" and proof is not None:
            yield _found("unbounded", row, "unbounded", proof)


def _is_bound(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _first(rows: list[Row], solver: object) -> Row | None:
    """Return the first row that is of another solver."""
    return next((row for row in rows if row["_solver"] != solver), None)


def _against_solution(
    row: Row, best: Row, sign: float, tolerance: Tolerance
) -> Iterator[Contradiction]:
    objective = float(best["objective"]) * sign
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
    value, said = other["objective"], other["outcome"] or INTERRUPTED
    if kind == "unbounded" and said not in ("optimal", "infeasible"):
        said, value = "dual bound", other["dual_bound"]
    against = said if value is None else f"{said} {float(value):.12g}"
    return Contradiction(
        instance=row["instance"],
        kind=kind,
        claim_by=row["_by"],
        claim=claim,
        against_by=other["_by"],
        against=against,
    )
