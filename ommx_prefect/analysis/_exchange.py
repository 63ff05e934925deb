"""Write solves for other tools: GAMS trace files, which PAVER and Mittelmann's scripts read.

A trace file has one line of comma-separated fields for each solve. The fields written are named in
the file's own header, with the model and solver status codes of GAMS: 1 optimal, 8 integer
solution, 4 infeasible, 3 unbounded, 14 no solution, 13 error; solver status 1 normal, 3 resource
limit, 8 interrupted, 10 error.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from ommx_prefect.analysis._instances import filled_names
from ommx_prefect.analysis._profiles import solver_names

FIELDS = (
    *("InputFileName", "SolverName", "OptionFile", "Direction", "ModelStatus", "SolverStatus"),
    *("ObjectiveValue", "ObjectiveValueEstimate", "SolverTime", "NumberOfIterations"),
    "NumberOfNodes",
)
# Outcome -> (model status, solver status).
CODES = {
    "optimal": (1, 1),
    "feasible": (8, 3),
    "infeasible": (4, 1),
    "unbounded": (3, 1),
    "no_solution": (14, 3),
    "not_applicable": (13, 10),
    "error": (13, 10),
}
# Of a solve that was ended from outside, and left its best solution.
INTERRUPTED = (8, 8)
DIRECTION = {"minimize": 0, "maximize": 1}
MISSING = "NA"


def write_trc(table: pd.DataFrame, path: str | Path) -> None:
    """Write solves as a GAMS trace file.

    Args:
        table: As `solves` returns it.
        path: The `.trc` file to write.
    """
    table = table.assign(instance=filled_names(table).fillna(MISSING))
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        file.write("* Trace Record Definition\n* " + " ".join(FIELDS) + "\n")
        writer = csv.writer(file)
        for solver, (_, row) in zip(solver_names(table), table.iterrows(), strict=True):
            writer.writerow(_record(str(solver), row))


def _record(solver: str, row: pd.Series) -> list[object]:
    model_status, solver_status = _codes(row)
    direction = MISSING if pd.isna(row["sense"]) else DIRECTION.get(row["sense"], MISSING)
    numbers = [row[x] for x in ("objective", "dual_bound", "seconds", "iterations", "nodes")]
    shown = [MISSING if pd.isna(x) else x for x in numbers]
    return [row["instance"], solver, 0, direction, model_status, solver_status, *shown]


def _codes(row: pd.Series) -> tuple[int, int]:
    if pd.isna(row["outcome"]):
        return CODES["error"] if pd.isna(row["objective"]) else INTERRUPTED
    return CODES.get(row["outcome"], CODES["error"])
