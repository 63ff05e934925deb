"""The table of Runs that Prefect's UI shows: one row for each Run, the worst first."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from ommx_prefect._format.earlier import own_runs
from ommx_prefect._format.model import UNWELL, ExperimentRecord, RunRecord, Scalar
from ommx_prefect._shards import columns
from ommx_prefect._values.display import for_terminal

MOST_ROWS = 500
MOST_BYTES = 256_000
LONGEST_TEXT = 200
LONGEST_TITLE = 100
# Significant digits of a number.
DIGITS = 12

# The columns that a person wants first: title -> run parameter; None for what the Run itself says.
FIRST_COLUMNS: dict[str, str | None] = {
    "run": None,
    "status": None,
    "instance": "instance",
    "adapter": "adapter",
    "outcome": "outcome",
    "objective": "objective",
    "reason": None,
    "seconds": columns.DURATION,
    "task": columns.TASK,
    "attempt": columns.ATTEMPT,
    "state": columns.STATE,
}
# Run parameters that only machines want.
HIDDEN_PARAMETERS = frozenset(
    {columns.TASK_RUN_ID, columns.STARTED_AT, columns.HOST, columns.FLOW_ATTEMPT}
    | {columns.FLOW_RUN_ID}
)
# States of a task run that has not ended, which Prefect shows for ever of one that was killed.
NOT_ENDED = frozenset({"Running", "Pending", "Scheduled", "Retrying", "Cancelling", "Paused"})


def runs_table(experiment: ExperimentRecord) -> list[dict[str, Any]]:
    """Return one row for each own Run; every row has the same columns in the same order."""
    runs = own_runs(experiment)
    runs.sort(key=lambda run: (run[1].status not in UNWELL, run[1].status != "failed"))
    logged = {name for _, run in runs for name in run.parameters}
    titles = titles_of(logged - HIDDEN_PARAMETERS)
    return [_row(run_id, run, titles) for run_id, run in runs]


def titles_of(parameters: set[str]) -> dict[str, str | None]:
    """Return the columns of a table of these run parameters: title -> run parameter.

    A parameter of the user's that has the name of one of our columns stands beside it.
    """
    ours = {title: name for title, name in FIRST_COLUMNS.items() if name in {None, *parameters}}
    shown = set(ours.values())
    users = sorted(parameters - shown)
    return ours | {
        for_terminal(f"{name} (logged)" if name in ours else name, LONGEST_TITLE): name
        for name in users
    }


def table_text(rows: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """Return rows as the JSON of a table artifact, and how many of them fit into it."""
    kept: list[str] = []
    size = 2
    for row in rows[:MOST_ROWS]:
        text = json.dumps(row)
        size += len(text) + 2
        if size > MOST_BYTES:
            break
        kept.append(text)
    return f"[{', '.join(kept)}]", len(kept)


def _row(run_id: int, run: RunRecord, titles: dict[str, str | None]) -> dict[str, Any]:
    of_the_run = {"run": run_id, "status": run.status, "reason": run.reason or ""}
    row: dict[str, Any] = {
        title: of_the_run[title] if name is None else run.parameters.get(name)
        for title, name in titles.items()
    }
    if row.get("state") in NOT_ENDED and run.status == "interrupted":
        row["state"] = f"{row['state']} when it died"
    return {title: shown(value) for title, value in row.items()}


def shown(value: Scalar | None) -> Scalar | None:
    """Return a value as a table shows it: short, and as JSON can hold it."""
    if isinstance(value, str):
        return for_terminal(value, LONGEST_TEXT)
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
