"""What two nights say of one instance that cannot both be true: neither is better for it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ommx_prefect.analysis._logged import HAS_SOLUTION
from ommx_prefect.analysis._tolerance import Tolerance

BEFORE, AFTER = "before", "after"


def opposed(pair: pd.Series, tolerance: Tolerance) -> str:
    """Return why one of two nights has to be wrong about an instance; empty if none has.

    Args:
        pair: Outcome, objective, bound and sense of both, as `compare` pairs them.
        tolerance: How far apart values are the same.
    """
    old, new = pair["outcome_before"], pair["outcome_after"]
    if "infeasible" in (old, new) and not HAS_SOLUTION.isdisjoint((old, new)):
        return f"{old}, now {new}: one is wrong"
    sign = -1.0 if "maximize" in {pair["sense_before"], pair["sense_after"]} else 1.0
    for claim, other in ((BEFORE, AFTER), (AFTER, BEFORE)):
        value = pair[f"objective_{other}"]
        if pair[f"outcome_{other}"] not in HAS_SOLUTION or pd.isna(value):
            continue
        for title, limit in _limits(pair, claim):
            if tolerance.is_exceeded((limit - float(value)) * sign, limit, float(value)):
                said = {claim: f"{title} {limit:.12g}", other: f"objective {float(value):.12g}"}
                return f"{said[BEFORE]}, now {said[AFTER]}: one is wrong"
    return ""


def _limits(pair: pd.Series, night: str) -> Iterator[tuple[str, float]]:
    """Yield what a night claims that no objective can be beyond."""
    for name, title in (("objective", "optimum"), ("dual_bound", "dual bound")):
        is_claimed = name == "dual_bound" or pair[f"outcome_{night}"] == "optimal"
        if is_claimed and not pd.isna(pair[f"{name}_{night}"]):
            yield title, float(pair[f"{name}_{night}"])
