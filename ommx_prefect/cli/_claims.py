"""Find claims of solves that contradict each other, and read no instance unless there are some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ommx.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd


def claims_of(experiment: Experiment, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return what `analysis.contradictions` finds.

    By name alone, different instances of one name seem to contradict each other: what is found so
    is looked at again by the content of the instances.

    Args:
        experiment: The experiment.
        table: Its solves, as `analysis.solves(experiment, digests=False)` returns them.
    """
    from ommx_prefect.analysis import contradictions, solves

    table = solves(experiment, digests=False) if table is None else table
    found = contradictions(table)
    if found.empty or table["digest"].notna().all():
        return found
    return contradictions(solves(experiment))
