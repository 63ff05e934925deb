"""Show all that one Run holds."""

from __future__ import annotations

from typing import Any

from ommx.experiment import SealedRun, Solve
from ommx.tracing import render_text_tree

from ommx_prefect._catalogue.contents import (
    attachments_of,
    parameters_of,
    task_run_url,
    text_of,
)
from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._solver.telemetry import LOG
from ommx_prefect.cli._output import say, shown_bytes, shown_value
from ommx_prefect.cli._table import print_table
from ommx_prefect.exceptions import UnknownImageError

LOG_LINES = 20
# What a solve came to.
ANSWER = ("instance", "outcome", "objective")


def run_document(opened: Opened, run_id: int) -> dict[str, Any]:
    """Return all that is known of a Run.

    Raises:
        UnknownImageError: The experiment has no such Run.
    """
    runs = {run.run_id: run for run in opened.experiment.runs}
    if run_id not in runs:
        raise UnknownImageError(opened.name, f"it has no Run {run_id}, but {len(runs)} from 0 on")
    run, logged = runs[run_id], parameters_of(opened)[run_id]
    return {
        "image": opened.name,
        "run": run_id,
        "status": run.status,
        "reason": run.lifecycle_reason,
        "parameters": logged,
        "solves": [
            {**_solve(each, "solve"), **({} if "outcome" in logged else _answer(each))}
            for each in run.solves
        ],
        "samplings": [_solve(each, "sampling") for each in run.samplings],
        "log": _log_tail(run),
        "attachments": [vars(each) for each in attachments_of(opened, run_id)],
        "trace": _trace(run),
        "prefect": task_run_url(opened, logged),
        "opens_with": f"{opened.opens_with}.runs[{_position(opened, run_id)}]",
    }


def _position(opened: Opened, run_id: int) -> int:
    return [run.run_id for run in opened.experiment.runs].index(run_id)


def _solve(solve: Any, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": solve.solve_id if isinstance(solve, Solve) else solve.sampling_id,
        "kind": kind,
        "adapter": solve.adapter,
        "status": solve.status,
        "options": dict(solve.adapter_options),
    }
    return found


def _answer(solve: Solve) -> dict[str, Any]:
    """Return what a solve came to, which its own record says where no parameter does."""
    from ommx_prefect.analysis._solves import row_of_solve

    row = row_of_solve(solve, {}, digests=False)
    return {name: row[name] for name in ANSWER if name in row}


def _log_tail(run: SealedRun) -> list[str]:
    if LOG not in run.attachment_names:
        return []
    return text_of(run.get_blob(LOG)).splitlines()[-LOG_LINES:]


def _trace(run: SealedRun) -> list[str]:
    trace = run.trace
    return [] if trace is None else render_text_tree(trace).splitlines()


def show_run(opened: Opened, document: dict[str, Any]) -> None:
    """Print what `run_document` has found."""
    why = f": {document['reason']}" if document["reason"] else ""
    say(f"{opened.name}, Run {document['run']}", "bold")
    say(f"{document['status']}{why}")
    if document["prefect"]:
        say(f"Prefect: {document['prefect']}")
    say()
    if document["parameters"]:
        print_table(("parameter", "value"), document["parameters"].items())
    for solve in (*document["solves"], *document["samplings"]):
        options = [f"{name}={value}" for name, value in solve["options"].items()]
        answer = [shown_value(solve[name]) for name in ANSWER if name in solve]
        said = ", ".join([solve["adapter"], solve["status"], *options, *answer])
        say(f"{solve['kind']} {solve['id']}: {said}")
    _show_lines("Log, its end", document["log"])
    if document["attachments"]:
        say()
        rows = [
            (x["name"], x["media_type"], shown_bytes(x["bytes"]), x["filename"])
            for x in document["attachments"]
        ]
        print_table(("attachment", "media type", "size", "file"), rows, right=("size",))
    _show_lines("Trace", document["trace"])
    say()
    say(f"Open it: {document['opens_with']}")


def _show_lines(title: str, lines: list[str]) -> None:
    if lines:
        say()
        say(title, "bold")
        for line in lines:
            say(line)
