"""What became better or worse between nights: instance by instance, and solver by solver.

Solves are paired by instance (digest, else name), adapter, variant and seed. Time counts as worse
only where it is significant over many instances and large enough, and only between nights whose
environments are comparable: times of another machine tell nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ommx_prefect.analysis._totals import censored_seconds, shifted_geometric_mean

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
SHIFT_SECONDS = 10.0
LEAST_PAIRS = 10
SMALLEST_CHANGE = 0.01
SIGNIFICANCE = 0.05
# What of an environment must agree for times to be compared.
ENVIRONMENT_KEYS = ("cpu", "cores", "os", "solvers")
COLUMNS = (
    *("instance", "adapter", "variant", "seed", "verdict", "why"),
    *("outcome_before", "outcome_after", "objective_before", "objective_after"),
    *("dual_bound_before", "dual_bound_after", "seconds_before", "seconds_after", "time_ratio"),
)


@dataclass(frozen=True)
class Comparison:
    """The difference between nights.

    Attributes:
        table: One row for each pair, and for what is new or gone; the columns of `COLUMNS`.
        times: One row for each adapter and variant: pairs, ratio of the shifted geometric means
            (above 1 is slower), p-value, and whether that is a regression.
        not_comparable: Why times are not compared; empty where they are.
    """

    table: pd.DataFrame
    times: pd.DataFrame
    not_comparable: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def regressions(self) -> list[str]:
        """Sentences about everything that became worse, an instance or a solver each."""
        worse = self.table[self.table["verdict"] == "worse"]
        said = [f"{x.instance} {x.adapter}: {x.why}" for x in worse.itertuples()]
        slow = self.times[self.times["regression"].astype(bool)]
        return said + [
            f"{x.adapter}: {x.ratio:.2f} times the time over {x.pairs} instances (p = {x.p:.2g})"
            for x in slow.itertuples()
        ]

    def _repr_html_(self) -> str:
        changed = self.table[self.table["verdict"] != "same"].head(50)
        return f"{changed.to_html(index=False)}{self.times.to_html(index=False)}"  # both escape


def compare(
    before: pd.DataFrame | Sequence[pd.DataFrame],
    after: pd.DataFrame,
    *,
    environments: Sequence[Mapping[str, Any] | None] | None = None,
    time_threshold: float = 1.1,
    relative: float = 1e-4,
    absolute: float = 1e-6,
) -> Comparison:
    """Compare the solves of a night with those of one or more earlier nights.

    Args:
        before: Tables as `solves` returns them. Of several nights the median time and the best
            outcome, objective and bound of each pair count.
        after: The table of the later night.
        environments: What `environment_of` tells of each night, the later one last; None where
            times are to be compared whatever the nights ran on.
        time_threshold: From which ratio of the shifted geometric means time is a regression.
        relative: Objectives and bounds within this share of the larger one are the same.
        absolute: And those this far apart.
    """
    nights = [before] if isinstance(before, pd.DataFrame) else list(before)
    old, new = _merged([_keyed(night) for night in nights]), _merged([_keyed(after)])
    pairs = old.join(new, how="outer", lsuffix="_before", rsuffix="_after")
    rows = [_row(key, pair, relative, absolute) for key, pair in pairs.iterrows()]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    reasons = () if environments is None else differences(environments)
    times = _times(table, time_threshold, is_comparable=not reasons)
    options = {"time_threshold": time_threshold, "relative": relative, "absolute": absolute}
    return Comparison(table, times, reasons, options)


def differences(environments: Sequence[Mapping[str, Any] | None]) -> tuple[str, ...]:
    """Say why the times of nights cannot be compared; nothing where they can."""
    if any(not environment for environment in environments):
        return ("the environment of a night is not recorded",)
    found = []
    for key in ENVIRONMENT_KEYS:
        values = {repr(environment.get(key)) for environment in environments if environment}
        if len(values) > 1:
            found.append(f"{key} differs: {', '.join(sorted(values))}")
    return tuple(found)


KEY = ["_instance", "adapter", "variant", "seed"]
VALUES = ["instance", "outcome", "objective", "dual_bound", "seconds", "sense"]


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    keyed = table.assign(
        _instance=table["digest"].fillna(table["instance"]).fillna("").astype(str),
        variant=table["variant"].fillna("").astype(str),
        adapter=table["adapter"].fillna("").astype(str),
        seed=table["seed"].fillna(-1).astype(int),
        outcome=table["outcome"].fillna("interrupted").astype(str),
        seconds=censored_seconds(table),
    )
    return keyed[KEY + VALUES]


def _merged(nights: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one row for each key: the best outcome with its values, and the median time."""
    rows = pd.concat(nights, ignore_index=True)
    rows["_rank"] = rows["outcome"].map(RANKS).fillna(max(RANKS.values()))
    rows["_loss"] = rows["objective"].astype(float) * rows["sense"].eq("maximize").map(
        {True: -1.0, False: 1.0}
    )
    seconds = rows.groupby(KEY)["seconds"].median()
    best = rows.sort_values(["_rank", "_loss"]).groupby(KEY).head(1).set_index(KEY)
    return best[VALUES].assign(seconds=seconds)


def _row(key: Any, pair: pd.Series, relative: float, absolute: float) -> dict[str, Any]:
    verdict, why = _verdict(pair, relative, absolute)
    names = (pair["instance_after"], pair["instance_before"], key[0])
    shown = {column: pair[column] for column in COLUMNS if column in pair.index}
    return {
        "instance": next(str(name) for name in names if not pd.isna(name)),
        "adapter": key[1],
        "variant": key[2],
        "seed": None if key[3] == -1 else key[3],
        "verdict": verdict,
        "why": why,
        **shown,
        "time_ratio": _ratio(pair["seconds_before"], pair["seconds_after"]),
    }


def _verdict(pair: pd.Series, relative: float, absolute: float) -> tuple[str, str]:
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
    return _verdict_of_values(pair, relative, absolute)


def _verdict_of_values(pair: pd.Series, relative: float, absolute: float) -> tuple[str, str]:
    sign = -1.0 if "maximize" in (pair["sense_before"], pair["sense_after"]) else 1.0
    # A larger loss is worse; of a dual bound a smaller one is.
    for name, title, direction in (
        ("objective", "objective", 1.0),
        ("dual_bound", "dual bound", -1.0),
    ):
        old, new = pair[f"{name}_before"], pair[f"{name}_after"]
        if pd.isna(old) or pd.isna(new):
            continue
        change = (float(new) - float(old)) * sign * direction
        if abs(change) > absolute + relative * max(abs(float(old)), abs(float(new))):
            verdict = "worse" if change > 0 else "better"
            return verdict, f"{title} {verdict}: {float(old):.12g}, now {float(new):.12g}"
    return "same", ""


def _ratio(old: float, new: float) -> float:
    return float("nan") if pd.isna(old) or pd.isna(new) or old <= 0 else float(new) / float(old)


def _times(table: pd.DataFrame, threshold: float, *, is_comparable: bool) -> pd.DataFrame:
    columns = ["adapter", "variant", "pairs", "ratio", "p", "regression"]
    paired = table.dropna(subset=["seconds_before", "seconds_after"])
    rows = [
        [*key, *_time_change(group, threshold, is_comparable=is_comparable)]
        for key, group in paired.groupby(["adapter", "variant"])
    ]
    return pd.DataFrame(rows, columns=columns)


def _time_change(
    group: pd.DataFrame, threshold: float, *, is_comparable: bool
) -> tuple[int, float, float, bool]:
    """Return pairs, ratio of the shifted geometric means, p-value, and whether it is worse."""
    old, new = group["seconds_before"].astype(float), group["seconds_after"].astype(float)
    mean_old, mean_new = (shifted_geometric_mean(x, SHIFT_SECONDS) for x in (old, new))
    ratio = (mean_new + SHIFT_SECONDS) / (mean_old + SHIFT_SECONDS)
    logs = np.log2((new + SHIFT_SECONDS) / (old + SHIFT_SECONDS)).to_numpy()
    logs = logs[np.abs(logs) >= np.log2(1 + SMALLEST_CHANGE)]
    p = signed_rank_p(logs) if len(logs) >= LEAST_PAIRS else float("nan")
    is_worse = is_comparable and ratio >= threshold and p < SIGNIFICANCE
    return len(group), ratio, p, bool(is_worse)


def signed_rank_p(differences_of_pairs: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test (SciPy's)."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences_of_pairs).pvalue)
