"""Read the run parameters of an experiment as plain Python values."""

from __future__ import annotations

from typing import Any

from ommx.experiment import Experiment

from ommx_prefect._format.columns import logged_names, split_columns


def run_parameters(experiment: Experiment) -> dict[int, dict[str, Any]]:
    """Return the parameters of every Run; a Run has an entry only for what it logged.

    They have the names by which they were logged, also where the column of a name was split
    because its values are of several types.
    """
    import pandas as pd  # half of what importing the solvers would take, and few solves need it

    table = experiment.run_parameters_df()
    known: dict[int, dict[str, Any]] = {run.run_id: {} for run in experiment.runs}
    for name in table.columns:
        for run_id, value in table[name].items():
            if not pd.isna(value):
                plain = value.item() if hasattr(value, "item") else value
                known[int(run_id)][str(name)] = plain
    split = split_columns(frozenset(map(str, table.columns)))
    return {run_id: dict(logged_names(said, split)) for run_id, said in known.items()}
