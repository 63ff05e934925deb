"""Totals of an experiment for each solver, in the measures that benchmarks report.

| column | meaning |
|---|---|
| `runs`, `solved`, `share` | solves; those with a proof (optimal, infeasible, unbounded) |
| `seconds_mean` | shifted geometric mean, exp(mean(ln(max(1, t + s)))) - s (Mittelmann) |
| `par` | penalised average runtime: t where solved, k times the limit else (PAR-k, SAT and ASlib) |
| `best` | solves that no other one of their instance beats, see below; ties count for all |
| `gap_mean` | mean of relative gap, clipped to 1; 1 without a Solution, or where it is infinite |
| `integral_mean` | mean of the primal-dual integral |

A solve without a proof counts with its limit, or with its time where it has none: censored, never
left out. A solver whose proofs tell no time, as those of plain OMMX, has no mean.

A proof beats a solve without one, and a faster proof a slower one, whatever is proved: proofs of
one instance are the same answer, *infeasible* and *unbounded* too, which have no objective, so time
alone tells them apart. Where no proof tells its time they are a tie. Where nobody proved anything
the better objective beats the worse one, and a solve without a solution is never best.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from ommx_prefect._solver.integral import clipped_gap
from ommx_prefect.analysis._instances import instance_key

# Outcomes that settle an instance.
PROVED = frozenset({"optimal", "infeasible", "unbounded"})
GROUP = ("adapter", "variant")
# What counts in sums and profiles, as their `attrs` say it.
FILTER = "all solves; one without a proof counts its limit, or its time where it has none"
FILTER_OF_BEST = "the fastest proof of each instance; without proofs the best objective"
# Two times are the same within this share of the better one, and so are two objectives.
TIE = 1e-6


def shifted_geometric_mean(seconds: pd.Series, shift: float = 10.0) -> float:
    """Return exp(mean(ln(max(1, t + shift)))) - shift of times in seconds; NaN of none."""
    if seconds.empty:
        return float("nan")
    times = np.maximum(1.0, seconds.to_numpy(dtype=float) + shift)
    return float(np.exp(np.mean(np.log(times))) - shift)


def is_solved(table: pd.DataFrame) -> pd.Series:
    """Tell for each solve whether it ended with a proof."""
    return table["outcome"].isin(PROVED).astype(bool)


def censored_seconds(table: pd.DataFrame) -> pd.Series:
    """Return seconds of the solves with a proof, and the limit of the others.

    A solve without a limit, or over it, counts with the time it took; one that knows neither is
    missing.
    """
    seconds = table["seconds"].astype("Float64")
    limit = table["limit"].astype("Float64")
    at_limit = pd.concat([seconds, limit], axis=1).max(axis=1)
    return seconds.where(is_solved(table), at_limit).astype(float)


def totals(table: pd.DataFrame, shift: float = 10.0, par: float = 10) -> pd.DataFrame:
    """Sum up solves by adapter and variant, the fastest first, and last those that proved nothing.

    Args:
        table: As `solves` returns it.
        shift: Seconds of the shifted geometric mean.
        par: Factor of the limit that an unsolved solve counts in `par`.

    Returns:
        One row for each adapter and variant. `attrs` of the table say the filter, the shift, the
        factor, and how many solves they were made from.
    """
    known = table.assign(**_measures(table, par))
    rows = [_row(key, group, shift) for key, group in _groups(known)]
    found = pd.DataFrame(rows, columns=list(_ROW))
    order = found.assign(_is_last=found["solved"] == 0)
    found = found.loc[order.sort_values(["_is_last", "seconds_mean", "adapter"]).index]
    found.attrs = {"filter": FILTER, "shift": shift, "par": par, "solves": len(table)}
    return found.reset_index(drop=True)


def virtual_best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the best solve of each instance: the solver that a perfect choice would have taken.

    That is the fastest one with a proof; where there is no proof, the one with the best objective,
    and of those with the same one the fastest. `attrs` of the table say so, and how many solves it
    was made from.
    """
    measured = table.assign(**_measures(table, 1.0), _key=instance_key(table))
    # Objectives differ in their last digits from solver to solver: nobody is better by those.
    best = measured["_loss"].groupby(measured["_key"]).transform("min")
    is_behind = measured["_loss"] > best + TIE * best.abs().clip(lower=1.0)
    measured["_behind"] = measured["_loss"].where(is_behind, -np.inf).mask(measured["_solved"], 0.0)
    ordered = measured.sort_values(
        ["_solved", "_behind", "_seconds"],
        ascending=[False, True, True],
        na_position="last",
        kind="stable",
    )
    best = ordered.groupby("_key", sort=True).head(1)
    found = best[table.columns].sort_values("instance").reset_index(drop=True)
    found.attrs = {"filter": FILTER_OF_BEST, "solves": len(table)}
    return found


_ROW = (
    *("adapter", "variant", "runs", "solved", "share", "seconds_mean", "par", "best"),
    *("gap_mean", "integral_mean"),
)


def _measures(table: pd.DataFrame, par: float) -> dict[str, pd.Series]:
    """Return what rows are ranked by; a loss is how far an objective is behind, 0 or more."""
    seconds, solved = censored_seconds(table), is_solved(table)
    return {
        "_solved": solved,
        "_seconds": seconds,
        "_par": seconds.where(solved, seconds * par),
        "_loss": _losses(table, solved),
    }


def _losses(table: pd.DataFrame, solved: pd.Series) -> pd.Series:
    """Return each objective with the sign of a minimisation; worse than all where there is none."""
    sign = table["sense"].map({"maximize": -1.0}).fillna(1.0).astype(float)
    loss = table["objective"].astype(float) * sign
    return loss.where(loss.notna(), np.where(solved, -np.inf, np.inf))


def _groups(table: pd.DataFrame) -> list[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    keys = [table[name].fillna("").astype(str) for name in GROUP]
    table = table.assign(_best=_is_best(table))
    return [(tuple(key), group) for key, group in table.groupby(keys, sort=True)]


def _is_best(table: pd.DataFrame) -> pd.Series:
    """Tell of each solve whether none on the same instance is better; ties are best, all of them.

    A proof beats none; of two proofs the faster one is better, and where none tells its time, none;
    without proofs the objective counts.
    """
    score = table["_seconds"].where(table["_solved"], table["_loss"])
    key = instance_key(table)
    any_proof = table["_solved"].groupby(key).transform("any")
    eligible = table["_solved"] | (~any_proof & np.isfinite(table["_loss"]))
    best = score.where(eligible).groupby(key).transform("min")
    return eligible & (best.isna() | (score <= best + TIE * best.abs().clip(lower=1.0)))


def _gaps(table: pd.DataFrame) -> pd.Series:
    """Return relative gaps, 1 at most: 0 of a proof that has told none, 1 without a Solution.

    A gap that its solver calls infinite is not recorded: it is that of objective and bound.
    """
    gaps = table["gap"].astype(float).fillna(_gaps_of_bounds(table)).clip(upper=1.0)
    gaps = gaps.mask(table["_solved"] & gaps.isna(), 0.0)
    is_feasible = (table["outcome"] == "feasible").fillna(False).astype(bool)
    has_solution = is_feasible | table["_solved"] | (table["outcome"].isna() & gaps.notna())
    return gaps.where(has_solution, 1.0)


def _gaps_of_bounds(table: pd.DataFrame) -> pd.Series:
    """Return the gap between objective and dual bound, where both are known."""
    bounds = table[["objective", "dual_bound"]].astype(float)
    is_known = bounds.notna().all(axis=1).to_numpy()
    gaps = pd.Series(np.nan, index=table.index)
    gaps[is_known] = [clipped_gap(*pair) for pair in bounds[is_known].itertuples(index=False)]
    return gaps


def _row(key: tuple[Hashable, ...], group: pd.DataFrame, shift: float) -> dict[str, object]:
    solved = int(group["_solved"].sum())
    # Limits of what was not solved are no mean of a solver of which no time is known.
    if solved and group.loc[group["_solved"], "_seconds"].isna().all():
        group = group.assign(_seconds=np.nan, _par=np.nan)
    gaps = _gaps(group)
    return {
        **dict(zip(GROUP, key, strict=True)),
        "runs": len(group),
        "solved": solved,
        "share": solved / len(group),
        "seconds_mean": shifted_geometric_mean(group["_seconds"].dropna(), shift),
        "par": float(group["_par"].mean()),
        "best": int(group["_best"].sum()),
        "gap_mean": float(gaps.mean()),
        "integral_mean": float(group["primal_dual_integral"].astype(float).mean()),
    }
