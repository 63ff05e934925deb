"""Compare experiments: what became better or worse, by instance and solver.

Solves are paired by instance, adapter, variant and seed. An instance is a content (its digest)
under a name: one that has another name now is paired by its digest, one without a digest by its
name, and equal content under two names of a night is two instances, each with a row of its own.

Time counts as worse only where it is significant over many instances and large enough, and only
between nights whose environments are comparable: times of another machine tell nothing. A pair of
which a solve has no proof counts where both had the same limit: another one alone makes it longer.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ommx_prefect.analysis._environment import (
    NightEnvironment,
    crowds,
    differences,
    missing_library,
)
from ommx_prefect.analysis._opposed import opposed
from ommx_prefect.analysis._pairs import KEY, VALUES, keyed, of_content
from ommx_prefect.analysis._times import LEAST_PAIRS, SHIFT_SECONDS, SMALLEST_CHANGE, times_of
from ommx_prefect.analysis._tolerance import Tolerance

# From the best to the worst: what is further down is worse.
RANKS = {
    outcome: rank
    for rank, outcomes in enumerate(
        [
            ("optimal", "infeasible", "unbounded"),
            ("feasible",),
            ("no_solution",),
            ("not_applicable", "error", "interrupted"),
        ]
    )
    for outcome in outcomes
}
SIGNIFICANCE = 0.05
# Rows that a notebook shows.
MOST_SHOWN = 50
COLUMNS = (
    *("instance", "adapter", "variant", "seed", "verdict", "why"),
    *("outcome_before", "outcome_after", "objective_before", "objective_after"),
    *("dual_bound_before", "dual_bound_after", "seconds_before", "seconds_after", "time_ratio"),
)


@dataclass(frozen=True)
class Comparison:
    """The differences between experiments.

    Attributes:
        table: One row for each pair, and for what is new or gone; the columns of `COLUMNS`.
        times: One row for each adapter and variant: pairs, ratio of the shifted geometric means
            (above 1 is slower), p-value, and whether that is a regression.
        not_comparable: Why times are not compared; empty where they are.
        options: With which tolerances, shift in seconds and least numbers it was made.
    """

    table: pd.DataFrame
    times: pd.DataFrame
    not_comparable: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def regressions(self) -> list[str]:
        """Sentences about everything that became worse, an instance or a solver each."""
        worse = self.table[self.table["verdict"] == "worse"]
        said = [f"{x.instance} {_solver(x)}: {x.why}" for x in worse.itertuples()]
        slow = self.times[self.times["regression"].astype(bool)]
        return said + [
            f"{_solver(x)}: {x.ratio:.2f} times the time over {x.pairs} instances (p = {x.p:.2g})"
            for x in slow.itertuples()
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs are better, worse, the same, new and gone."""
        return {str(key): int(n) for key, n in self.table["verdict"].value_counts().items()}

    def _repr_html_(self) -> str:
        changed = self.table[self.table["verdict"] != "same"]
        said = ", ".join(f"{n} {verdict}" for verdict, n in self.counts.items())
        reasons = [f"times are not compared: {why}" for why in self.not_comparable]
        lines = [f"<p>{html.escape(line)}</p>" for line in (said, *reasons)]
        tables = (changed.head(MOST_SHOWN), self.times)
        return "".join([*lines, *(each.to_html(index=False) for each in tables)])  # it escapes


def _solver(row: Any) -> str:
    """Return the solver of a row, with its variant and seed: more than one of it may be worse."""
    options = [row.variant] if row.variant else []
    seed = getattr(row, "seed", None)
    options += [] if seed is None or pd.isna(seed) else [f"seed {seed:g}"]
    return f"{row.adapter} ({', '.join(options)})" if options else str(row.adapter)


def compare(
    before: pd.DataFrame | Sequence[pd.DataFrame],
    after: pd.DataFrame,
    *,
    environments: Sequence[NightEnvironment] | None = None,
    time_threshold: float = 1.1,
    significance: float = SIGNIFICANCE,
    relative: float = 1e-4,
    absolute: float = 1e-6,
) -> Comparison:
    """Compare the solves of an experiment with those of one or more earlier ones.

    Where the instance of a name has another content than before, outcomes alone are compared.

    Args:
        before: Tables as `solves` returns them. Of several nights the median time and the best
            outcome, objective and bound of each pair count.
        after: The table of the later night.
        environments: What `environments_of` tells of each night, the later one last; None where
            times are to be compared whatever the nights ran on.
        time_threshold: From which ratio of the shifted geometric means time is a regression.
        significance: Below which p-value the times of two nights differ.
        relative: Objectives and bounds within this share of the larger one are the same.
        absolute: And those this far apart.
    """
    nights = [before] if isinstance(before, pd.DataFrame) else list(before)
    *earlier, later = keyed([*nights, after])
    new = _merged([later])
    old = _merged([of_content(pd.concat(earlier, ignore_index=True), new["digest"])])
    pairs = old.join(new, how="outer", lsuffix="_before", rsuffix="_after")
    tolerance = Tolerance(absolute, relative)
    rows = [_row(key, pair, tolerance) for key, pair in pairs.iterrows()]
    is_left_out = pd.Series([_tells_no_time(pair) for _, pair in pairs.iterrows()], dtype=bool)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    reasons = missing_library()
    if environments is not None:
        reasons += differences(environments) + crowds([*nights, after])
    limits = (time_threshold, significance)
    times = times_of(table[~is_left_out], limits, is_comparable=not reasons)
    options = {
        "time_threshold": time_threshold,
        "significance": significance,
        "relative": relative,
        "absolute": absolute,
        "shift": SHIFT_SECONDS,
        "smallest_change": SMALLEST_CHANGE,
        "least_pairs": LEAST_PAIRS,
    }
    return Comparison(table, times, reasons, options)


def _merged(nights: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row for each key: the best outcome with its values, and the median time."""
    rows = pd.concat(nights, ignore_index=True)
    rows["_rank"] = rows["outcome"].map(RANKS).fillna(max(RANKS.values()))
    is_maximised = rows["sense"].eq("maximize").fillna(False).astype(bool)
    rows["_loss"] = rows["objective"].astype(float).mask(is_maximised, -rows["objective"])
    seconds = rows.groupby(KEY)["seconds"].median()
    best = rows.sort_values(["_rank", "_loss"]).groupby(KEY).head(1).set_index(KEY)
    return best[VALUES].assign(
        seconds=seconds,
        dual_bound=_best_bounds(rows, is_maximised),
        limit=_only_limits(rows),
        is_cut_off=rows["_rank"].gt(0).groupby([rows[name] for name in KEY]).any(),
    )


def _only_limits(rows: pd.DataFrame) -> pd.Series:
    """Return the limit of each key, infinite without one; missing where nights had several."""
    limits = rows.groupby(KEY)["limit"]
    return limits.first().where(limits.nunique() == 1)


def _best_bounds(rows: pd.DataFrame, is_maximised: pd.Series) -> pd.Series:
    """Return the tightest bound of each key: of a minimisation the highest one."""
    bounds = rows["dual_bound"].astype(float)
    signed = rows.assign(_bound=bounds.mask(is_maximised, -bounds), _up=is_maximised).groupby(KEY)
    found = signed["_bound"].max()
    return found.mask(signed["_up"].any(), -found)


def _row(key: Any, pair: pd.Series, tolerance: Tolerance) -> dict[str, Any]:
    is_other = _is_other_content(pair)
    verdict, why = _verdict(pair, tolerance, is_other=is_other)
    if verdict in ("better", "same") and not is_other and (reason := opposed(pair, tolerance)):
        verdict, why = "worse", reason
    names = (pair["instance_after"], pair["instance_before"], "")
    shown = {column: pair[column] for column in COLUMNS if column in pair.index}
    if is_other:
        why = f"{why or 'same'} (the instance of this name has another content)"
    elif verdict in ("better", "worse"):
        why += _limits_said(pair)
    return {
        "instance": next(str(name) for name in names if not pd.isna(name)),
        "adapter": key[1],
        "variant": key[2],
        "seed": None if key[3] == -1 else key[3],
        "verdict": verdict,
        "why": why,
        **shown,
        "time_ratio": float("nan") if _tells_no_time(pair) else _ratio(pair),
    }


def _tells_no_time(pair: pd.Series) -> bool:
    """Tell whether two times cannot be compared: of other contents, or cut off by other limits."""
    is_cut_off = bool(pair["is_cut_off_before"] or pair["is_cut_off_after"])
    is_other_limit = is_cut_off and pair["limit_before"] != pair["limit_after"]
    return is_other_limit or _is_other_content(pair)


def _limits_said(pair: pd.Series) -> str:
    """Say that the nights had other limits, which may be why; nothing where they had the same."""
    old, new = pair["limit_before"], pair["limit_after"]
    if pd.isna(old) or pd.isna(new) or old == new:
        return ""
    shown = ["none" if math.isinf(limit) else f"{limit:g} s" for limit in (old, new)]
    return f" (limit {shown[0]}, now {shown[1]})"


def _is_other_content(pair: pd.Series) -> bool:
    return len({x for x in (pair["digest_before"], pair["digest_after"]) if not pd.isna(x)}) > 1


def _verdict(pair: pd.Series, tolerance: Tolerance, *, is_other: bool) -> tuple[str, str]:
    old, new = pair["outcome_before"], pair["outcome_after"]
    if pd.isna(old):
        return "new", f"new: {new}"
    if pd.isna(new):
        return "gone", f"gone: it was {old}"
    if old != new:
        rank_old, rank_new = RANKS.get(old, 3), RANKS.get(new, 3)
        if rank_old == rank_new == 0:
            return "worse", f"outcome changed: {old}, now {new}"
        if rank_old != rank_new:
            return ("better" if rank_new < rank_old else "worse"), f"{old}, now {new}"
    if is_other:  # whose values are not those of the instance before
        return "same", ""
    return _verdict_of_values(pair, tolerance)


def _verdict_of_values(pair: pd.Series, tolerance: Tolerance) -> tuple[str, str]:
    senses = {sense for sense in (pair["sense_before"], pair["sense_after"]) if not pd.isna(sense)}
    sign = -1.0 if "maximize" in senses else 1.0
    # A larger loss is worse; of a dual bound a smaller one is.
    for name, title, direction in (
        ("objective", "objective", 1.0),
        ("dual_bound", "dual bound", -1.0),
    ):
        old, new = pair[f"{name}_before"], pair[f"{name}_after"]
        if pd.isna(old) or pd.isna(new):
            continue
        change = (float(new) - float(old)) * sign * direction
        if tolerance.is_exceeded(abs(change), float(old), float(new)):
            verdict = "worse" if change > 0 else "better"
            return verdict, f"{title} {verdict}: {float(old):.12g}, now {float(new):.12g}"
    return "same", ""


def _ratio(pair: pd.Series) -> float:
    old, new = pair["seconds_before"], pair["seconds_after"]
    return float("nan") if pd.isna(old) or pd.isna(new) or old <= 0 else float(new) / float(old)
