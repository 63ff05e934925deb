"""Profiles of solvers over many instances, and the gap of one instance over time.

- Performance profile: the share of instances that a solver solves within a factor tau of the
  fastest solver (Dolan and More, Mathematical Programming 91, 2002).
- Data profile: the share that it solves within so many seconds (More and Wild, SIAM J. Optim. 20,
  2009, with seconds as the budget).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from ommx.experiment import Experiment, SealedRun

from ommx_prefect._format.earlier import own
from ommx_prefect._registry.run_parameters import run_parameters
from ommx_prefect._registry.whole import whole
from ommx_prefect._solver.telemetry import TRAJECTORY
from ommx_prefect.analysis._instances import instance_key
from ommx_prefect.analysis._totals import is_solved

JSON = "application/json"
# The lists of a trajectory, all of one length, of numbers and null.
TOLD = ("seconds", "primal", "dual", "nodes")
# What counts, as `attrs` say it.
FILTER = "all instances; a solver without a proof never solves one; of several seeds the median"
FILTER_OF_GAPS = "solves with a trajectory; a gap is 1 at most, and 1 before the first solution"


def performance_profile(table: pd.DataFrame, measure: str = "seconds") -> pd.DataFrame:
    """Return for each solver the share of instances solved within each factor of the best.

    Args:
        table: As `solves` returns it.
        measure: The column that is compared, the smaller the better.

    Returns:
        Index `tau` (1 or more, ascending), one column for each solver (`adapter`, and its variant
        where there are several), values from 0 to 1. An instance without a proof by a solver is
        never solved by it; one that nobody solved counts for nobody. Where the best is 0, as of
        nodes, the factors are those of the measure plus 1. A solver of whose proofs none tells the
        measure, such as the seconds of plain OMMX, has no column. `attrs["instances"]` is the
        number of instances.
    """
    costs = _costs(table, measure)
    best = costs.min(axis=1)
    shift = (best <= 0).astype(float)
    ratios = costs.add(shift, axis=0).div(best + shift, axis=0).where(np.isfinite(costs), np.inf)
    return _shares(ratios.clip(lower=1.0), "tau", first=1.0)


def data_profile(table: pd.DataFrame, measure: str = "seconds") -> pd.DataFrame:
    """Return for each solver the share of instances solved within each number of seconds.

    Args:
        table: As `solves` returns it.
        measure: The column that is the budget.

    Returns:
        As `performance_profile`, with the measure as index.
    """
    return _shares(_costs(table, measure), measure, first=0.0)


def gap_over_time(experiment: Experiment, instance: str) -> pd.DataFrame:
    """Return how the bounds of an instance came together in each of its solves.

    It needs the attachment `trajectory`, which `solve(..., telemetry="full")` leaves.

    Args:
        experiment: A sealed experiment.
        instance: The name of the instance.

    Returns:
        A table with the columns `run`, `adapter`, `seconds`, `primal`, `dual`, `gap`, `nodes`; the
        gap is |primal - dual| / max(|primal|, |dual|), 1 at most, and 1 before the first solution.
        Its `attrs` say so, and how many solves it shows.
    """
    experiment = whole(experiment)
    logged = run_parameters(experiment)
    columns = ["run", "adapter", "seconds", "primal", "dual", "gap", "nodes"]
    parts = [
        rows.assign(run=run.run_id, adapter=logged[run.run_id].get("adapter"))
        for run in own(experiment.runs, experiment.annotations)
        if logged[run.run_id].get("instance") == instance
        and (rows := trajectory_of(run)) is not None
    ]
    found = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    found = found.assign(gap=_gaps(found)).reindex(columns=columns).reset_index(drop=True)
    found.attrs = {"filter": FILTER_OF_GAPS, "instance": instance, "solves": len(parts)}
    return found


def trajectory_of(run: SealedRun) -> pd.DataFrame | None:
    """Return the trajectory of a solve; None without one, and where it is a user's own."""
    if TRAJECTORY not in run.attachment_names or run.attachment_media_type(TRAJECTORY) != JSON:
        return None
    try:
        found = run.get_json(TRAJECTORY)
        lists = {name: found.get(name) for name in TOLD} if isinstance(found, dict) else {"": None}
        if not all(isinstance(each, list) for each in lists.values()):
            return None
        return pd.DataFrame(lists, dtype=float)
    except (TypeError, ValueError, RecursionError):  # no JSON, of several lengths, or no numbers
        return None


def _gaps(rows: pd.DataFrame) -> pd.Series:
    primal, dual = rows["primal"].astype(float), rows["dual"].astype(float)
    scale = np.maximum(primal.abs(), dual.abs())
    gaps = ((primal - dual).abs() / scale.where(scale > 0, 1.0)).clip(upper=1.0)
    return gaps.fillna(1.0)


def solver_names(table: pd.DataFrame) -> pd.Series:
    """Return how a solver is called in a profile: its adapter, with its variant if it has one."""
    variant = table["variant"].fillna("")
    adapter = table["adapter"].astype(str)
    return adapter.where(variant == "", adapter + " (" + variant.astype(str) + ")")


def _costs(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the cost of each instance (rows) by each solver (columns); infinite where unsolved.

    Of several solves (seeds) of one instance by one solver the median counts.
    """
    solved, solver = is_solved(table), solver_names(table).rename("solver")
    cost = table[measure].astype(float).where(solved, np.inf).fillna(np.inf)
    keys = [instance_key(table).rename("instance"), solver]
    costs = cost.groupby(keys).median().unstack().fillna(np.inf)
    # To be unknown is not to be unsolved: such a solver would seem to be the worst of all.
    is_told = (table[measure].notna() & solved).groupby(solver).any() | ~solved.groupby(
        solver
    ).any()
    return costs[[name for name in costs if is_told[name]]]


def _shares(costs: pd.DataFrame, name: str, first: float) -> pd.DataFrame:
    finite = np.unique(costs.to_numpy()[np.isfinite(costs.to_numpy())])
    steps = np.union1d([first], finite)
    shares = {solver: _share_within(costs[solver].to_numpy(), steps) for solver in costs}
    found = pd.DataFrame(shares, index=pd.Index(steps, name=name))
    found.attrs = {"filter": FILTER, "instances": len(costs)}
    return found


def _share_within(costs: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(costs), steps, side="right") / max(1, len(costs))
