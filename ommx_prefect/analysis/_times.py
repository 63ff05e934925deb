"""Test whether a solver became slower: Wilcoxon's signed ranks, and shifted geometric means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ommx_prefect.analysis._environment import missing_library
from ommx_prefect.analysis._totals import shifted_geometric_mean

SHIFT_SECONDS = 10.0
LEAST_PAIRS = 10
SMALLEST_CHANGE = 0.01


def times_of(
    pairs: pd.DataFrame, limits: tuple[float, float], *, is_comparable: bool
) -> pd.DataFrame:
    """Return one row for each adapter and variant, as `Comparison.times` has them.

    Args:
        pairs: Pairs of solves whose times can be compared, with the columns of a comparison.
        limits: From which ratio time is a regression, and below which p-value.
        is_comparable: Whether the nights ran on comparable machines.
    """
    columns = ["adapter", "variant", "pairs", "ratio", "p", "regression"]
    paired = pairs.dropna(subset=["seconds_before", "seconds_after"])
    rows = [
        [*key, *_time_change(group, limits, is_comparable=is_comparable)]
        for key, group in paired.groupby(["adapter", "variant"])
    ]
    return pd.DataFrame(rows, columns=columns)


def _time_change(
    group: pd.DataFrame, limits: tuple[float, float], *, is_comparable: bool
) -> tuple[int, float, float, bool]:
    """Return pairs, ratio of the shifted geometric means, p-value, and whether it is worse."""
    old, new = group["seconds_before"].astype(float), group["seconds_after"].astype(float)
    mean_old, mean_new = (shifted_geometric_mean(x, SHIFT_SECONDS) for x in (old, new))
    ratio = (mean_new + SHIFT_SECONDS) / (mean_old + SHIFT_SECONDS)
    logs = np.log2((new + SHIFT_SECONDS) / (old + SHIFT_SECONDS)).to_numpy()
    logs = logs[np.abs(logs) >= np.log2(1 + SMALLEST_CHANGE)]
    p = signed_rank_p(logs) if len(logs) >= LEAST_PAIRS and not missing_library() else float("nan")
    threshold, significance = limits
    is_worse = is_comparable and ratio >= threshold and p < significance and _is_slower(logs)
    return len(group), ratio, p, bool(is_worse)


def _is_slower(logs: np.ndarray) -> bool:
    """Tell whether the signed ranks lean to slower: the test alone tells of either direction."""
    return float(np.sign(logs) @ pd.Series(np.abs(logs)).rank().to_numpy()) > 0


def signed_rank_p(differences_of_pairs: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test (SciPy's)."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences_of_pairs).pvalue)
