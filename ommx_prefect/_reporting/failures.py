"""List the Runs that failed or were interrupted, with the command that solves each again."""

from __future__ import annotations

from ommx_prefect._format.model import RunRecord
from ommx_prefect._reporting.markdown import MOST_LINES, link, more, name_in_shell
from ommx_prefect._reporting.night import Night
from ommx_prefect._shards import columns
from ommx_prefect._solver.telemetry import INSTANCE
from ommx_prefect._values.display import for_markdown

LONGEST_REASON = 200
# What a solve that was killed has left beside its instance, and by which it is solved again.
ADAPTER = "adapter"


def failures(night: Night) -> list[str]:
    """Return the section of failed Runs of a page; empty where all went well."""
    found = list(night.unwell())
    if not found:
        return []
    lines = ["### Failed and interrupted Runs", ""]
    lines += [_failure(night, run_id, run) for run_id, run in found[:MOST_LINES]]
    return lines + more(len(found), "in the table of Runs, the worst first")


def replay_of(night: Night, run_id: int) -> str:
    """Return the command that solves a Run again, as code; nothing where it holds no solve."""
    run = dict(night.runs).get(run_id)
    if run is None or not _holds_a_solve(run):
        return ""
    return f"`ommx-prefect replay {name_in_shell(night)} --run {run_id}`"


def _holds_a_solve(run: RunRecord) -> bool:
    """Tell whether a Run has a solve, finished or not."""
    was_begun = ADAPTER in run.parameters and INSTANCE in run.attachments.entries
    return bool(run.solves or run.samplings or was_begun)


def _failure(night: Night, run_id: int, run: RunRecord) -> str:
    task_run = link("task run", "task-run", str(run.parameters.get(columns.TASK_RUN_ID)))
    again = replay_of(night, run_id)
    return (
        f"- **{for_markdown(_title(run_id, run))}**: "
        + for_markdown(run.reason or "no reason", LONGEST_REASON)
        + (f" ({task_run})" if task_run else "")
        + (f"  \n  Replay it: {again}" if again else "")
    )


def _title(run_id: int, run: RunRecord) -> str:
    """Return the title of a Run: its task, and for a solve the instance and the adapter."""
    known = run.parameters
    solve = [str(known[name]) for name in (INSTANCE, ADAPTER) if known.get(name)]
    task = " ".join([str(known.get(columns.TASK, "")), *solve])
    return f"Run {run_id}, {task}, attempt {known.get(columns.ATTEMPT, 1)}, {run.status}"
