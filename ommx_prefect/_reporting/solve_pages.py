"""A small page on each task run that solved something: its result, and a link to the experiment.

Only the first `MOST_PAGES` Runs of a night get one, those that failed before those that did not, so
that a night of any size makes a bounded number of writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate

from ommx_prefect._format.model import UNWELL, RunRecord
from ommx_prefect._prefect.api import api_client
from ommx_prefect._reporting.markdown import link
from ommx_prefect._reporting.night import Night
from ommx_prefect._shards import columns
from ommx_prefect._values.display import as_code, for_markdown, for_terminal

MOST_PAGES = 20
LONGEST_DESCRIPTION = 200
# Significant digits of a number: of values that are compared, and of all others.
EXACT, DIGITS, FEW_DIGITS = frozenset({"objective", "bound"}), 12, 4
# What a person wants to read -> the run parameter that has it.
SHOWN = {
    "instance": "instance",
    "solver": "adapter",
    "outcome": "outcome",
    "objective": "objective",
    "bound": "dual_bound",
    "gap": "gap",
    "seconds": "solve_seconds",
    "time limit": "time_limit_seconds",
    "nodes": "nodes",
    "warning": "solver_warning",
}


def show_solves(night: Night) -> int:
    """Put pages on the task runs of an experiment's solves; return how many."""
    wanted = list(islice(_solves(night), MOST_PAGES))
    if not wanted:
        return 0
    with api_client() as client:
        for run_id, run in wanted:
            client.create_artifact(_page(night, run_id, run))
    return len(wanted)


def _solves(night: Night) -> Iterator[tuple[int, RunRecord]]:
    """Return the Runs that solved something in a task run of Prefect's, the worst first."""
    well = ((i, run) for i, run in night.runs if run.status not in UNWELL)
    for run_id, run in chain(night.unwell(), well):
        is_solve = run.solves or run.samplings or "outcome" in run.parameters
        if is_solve and _task_run_id(run) is not None:
            yield run_id, run


def _task_run_id(run: RunRecord) -> UUID | None:
    try:
        return UUID(str(run.parameters.get(columns.TASK_RUN_ID)))
    except ValueError:
        return None


def _page(night: Night, run_id: int, run: RunRecord) -> ArtifactCreate:
    known = run.parameters
    cells = {title: known[name] for title, name in SHOWN.items() if name in known}
    outcome = str(known.get("outcome") or run.status)
    lines = [f"### {for_markdown(outcome)}", "", "| | |", "|---|---|"]
    lines += [f"| {x} | {for_markdown(_number(x, value))} |" for x, value in cells.items()]
    lines += [f"| reason | {for_markdown(run.reason)} |"] if run.reason else []
    lines += [f"| Run | {run_id} of {as_code(night.sealed.image_name)} |"]
    where = link("The night", "flow-run", night.facts.flow_run_id)
    return ArtifactCreate(
        type="markdown",
        data="\n".join([*lines, "", where]) + "\n",
        description=f"Run {run_id}: {for_terminal(outcome)}"[:LONGEST_DESCRIPTION],
        flow_run_id=UUID(night.facts.flow_run_id),
        task_run_id=_task_run_id(run),
    )


def _number(title: str, value: object) -> object:
    digits = DIGITS if title in EXACT else FEW_DIGITS
    return f"{value:.{digits}g}" if isinstance(value, float) else value
