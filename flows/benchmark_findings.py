"""What do the solves of a benchmark say together, and beside those of an earlier night?

The tables are those of `ommx_prefect.analysis`: made from rows while the flow runs, and from the
sealed experiment afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from benchmark_rows import Row, grouped
from ommx.experiment import Experiment, list_experiments

from ommx_prefect import load_experiment
from ommx_prefect.analysis import (
    Comparison,
    compare,
    contradictions,
    environments_of,
    solves,
    totals,
    write_report,
)

# Column of the analysis -> key of a row.
COLUMNS = {
    "instance": "instance",
    "adapter": "adapter",
    "variant": "variant",
    "seed": "seed",
    "outcome": "outcome",
    "objective": "objective",
    "sense": "sense",
    "seconds": "seconds",
    "limit": "limit",
    "reason": "reason",
}
LATEST = "latest"
# Of an experiment that is a part of another one.
PART_OF = "org.ommx-prefect.part-of"


def table_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the solves among the rows as the table that every analysis starts from."""
    empty = solves()
    found = [
        {"run": number, **{column: row.get(key) for column, key in COLUMNS.items()}}
        for number, row in enumerate(row for row in rows if row["adapter"])
    ]
    return pd.DataFrame(found, columns=empty.columns).astype(empty.dtypes.to_dict())


def totals_of(rows: list[Row]) -> list[Row]:
    """Sum up each solver: the counts of its outcomes, and the sums of `analysis.totals`.

    The mean of seconds is geometric, shifted by 10 s; a solve without a proof counts its limit.
    """
    groups = grouped((row for row in rows if row["adapter"]), "adapter", "variant")
    sums = totals(table_of(rows)).to_dict("records")
    return [
        {str(key): value for key, value in each.items()}
        | counts_of(groups[each["adapter"], each["variant"]])
        for each in sums
    ]


def counts_of(rows: list[Row]) -> Row:
    """Count the outcomes of some solves."""
    outcomes = [row["outcome"] for row in rows]
    optimal, feasible = outcomes.count("optimal"), outcomes.count("feasible")
    return {"optimal": optimal, "feasible": feasible, "other": len(rows) - optimal - feasible}


def contradictions_of(rows: list[Row]) -> list[Row]:
    """Return the claims of the solvers that cannot all be true."""
    found = contradictions(table_of(rows).assign(experiment="row"))
    return [{str(key): str(value) for key, value in x.items()} for x in found.to_dict("records")]


# ---------------------------------------------------------------- earlier nights


def earlier_night(image: str, experiment: str) -> Experiment | None:
    """Open the night to compare with; None where there is none yet, which is said.

    Args:
        image: Its image name, or `latest` for the newest one here.
        experiment: The image name of the benchmark, for `latest`.
    """
    if image != LATEST:
        return load_experiment(image if "@" in image else Experiment(image).image_name)
    # OMMX lists images by their whole names: `myteam/bench` is docker.io/myteam/bench.
    repository = Experiment(experiment).image_name.rpartition(":")[0]
    known = [
        (ref.updated_at, ref.image_name)
        for ref in list_experiments(f"{repository}:")
        if PART_OF not in ref.annotations and ref.status == "finished"
    ]
    if not known:
        print(f"There is no earlier night of {repository} here to compare with.")
        return None
    return load_experiment(max(known)[1])


def compared(before: Experiment, after: Experiment) -> Comparison:
    """Compare two nights, and their times where they ran on comparable machines."""
    environments = [environments_of(night) for night in (before, after)]
    return compare(solves(before), solves(after), environments=environments)


def page_of(night: Experiment, before: Experiment | None, path: str) -> Path:
    """Write the page about a night, beside the earlier one if there is one."""
    return write_report(night, path, earlier=[] if before is None else [before])
