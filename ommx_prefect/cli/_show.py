"""Show one experiment: `show IMAGE`, and with `--run` one Run of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
import typer

from ommx_prefect._catalogue.contents import attachments_of, parameters_of
from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._format.earlier import own
from ommx_prefect._format.model import UNWELL
from ommx_prefect._shards import columns
from ommx_prefect._targets import annotations as names
from ommx_prefect.cli._claims import claims_of
from ommx_prefect.cli._options import AsJson, Image
from ommx_prefect.cli._output import plain, print_json, say
from ommx_prefect.cli._registry import open_here
from ommx_prefect.cli._show_run import run_document, show_run
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working

MOST_RUNS = 60
# Title -> run parameter, where Runs have it; else what the record of their one solve says.
RUN_COLUMNS = {
    "instance": "instance",
    "adapter": "adapter",
    "outcome": "outcome",
    "objective": "objective",
    "dual bound": "dual_bound",
    "gap": "gap",
    "seconds": "solve_seconds",
    "task": columns.TASK,
    "state": columns.STATE,
    "took": columns.DURATION,
}
TOTALS = ("adapter", "variant", "runs", "solved", "seconds_mean", "par", "best", "gap_mean")
# Outcomes that are no answer, the worst first.
BAD_OUTCOMES = ("error", "unreadable", "not_applicable", "no_solution", "feasible")
# What is said of the flow run: title -> annotation.
FACTS = {**names.FLOW_RUN_FACTS, "Prefect": names.FLOW_RUN_URL, **names.LOSS_FACTS}


def show_command(
    image: Image,
    run: Annotated[int | None, typer.Option("--run", help="Show this Run alone.")] = None,
    runs: Annotated[
        int, typer.Option("--runs", min=1, help="Show so many Runs, the worst first.")
    ] = MOST_RUNS,
    as_json: AsJson = False,
) -> None:
    """Show what a night came to: totals, contradictions, and its Runs, the worst first.

    With `--run`: all that one Run holds, its solves with options, the end of the solver's log,
    attachments with their sizes, its trace as a tree, its page in Prefect's UI, and how to open it.
    """
    with working(f"reading {image}"):
        opened = open_here(image)
        document = run_document(opened, run) if run is not None else _document(opened)
    if as_json:
        print_json(document)
    elif run is not None:
        show_run(opened, document)
    else:
        _show(opened, document, runs)


def _document(opened: Opened) -> dict[str, Any]:
    from ommx_prefect.analysis import solves, totals

    table = solves(opened.experiment, digests=False)
    said = names.told_of_flow_run(opened.experiment.annotations)
    return {
        "image": opened.name,
        "digest": opened.digest,
        "status": opened.experiment.status,
        "reason": opened.experiment.lifecycle_reason,
        **({"parts": len(opened.parts)} if opened.parts else {}),
        **{title: said[key] for title, key in FACTS.items() if key in said},
        "totals": _records(totals(table)) if len(table) else [],
        "contradictions": _records(claims_of(opened.experiment, table)),
        "runs": runs_of(opened, table),
        "attachments": [vars(each) for each in attachments_of(opened)],
        "opens_with": opened.opens_with,
    }


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def runs_of(opened: Opened, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row for each Run that is the experiment's own, the worst first.

    Args:
        opened: The experiment.
        table: Its solves.
    """
    logged, recorded = parameters_of(opened), _only_solves(table)
    rows = [
        {
            "run": run.run_id,
            "status": run.status,
            **_cells(logged[run.run_id], recorded.get(run.run_id, {})),
            "reason": run.lifecycle_reason or logged[run.run_id].get("reason"),
        }
        for run in own(opened.experiment.runs, opened.experiment.annotations)
    ]
    return sorted(rows, key=_badness)


def _only_solves(table: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Return what is known of the solve of each Run that holds a single one."""
    single = table[~table["run"].duplicated(keep=False)]
    return {row["run"]: plain(row) for row in single.to_dict("records")}


def _cells(logged: Mapping[str, Any], solve: Mapping[str, Any]) -> dict[str, Any]:
    return {
        title: logged.get(name, solve.get(title.replace(" ", "_")))
        for title, name in RUN_COLUMNS.items()
    }


def _badness(row: dict[str, Any]) -> tuple[int, int, int]:
    status, outcome = row["status"], row["outcome"]
    return (
        UNWELL.index(status) if status in UNWELL else len(UNWELL),
        BAD_OUTCOMES.index(outcome) if outcome in BAD_OUTCOMES else len(BAD_OUTCOMES),
        row["run"],
    )


def _show(opened: Opened, document: dict[str, Any], most: int) -> None:
    why = f": {document['reason']}" if document["reason"] else ""
    say(opened.name, "bold")
    say(f"{opened.digest}, {document['status']}{why}")
    if opened.parts:
        say(f"sealed in {len(opened.parts)} parts; their tags begin with part-")
    for title in FACTS:
        if title in document:
            say(f"{title}: {document[title]}")
    if document["totals"]:
        say()
        rows = [[row[name] for name in TOTALS] for row in document["totals"]]
        print_table(TOTALS, rows, title="Totals")
    if document["contradictions"]:
        say()
        titles = list(document["contradictions"][0])
        print_table(
            titles, [list(x.values()) for x in document["contradictions"]], title="Contradictions"
        )
    _show_runs(document["runs"], most)
    say(f"Open it: {opened.opens_with}")


def _show_runs(rows: list[dict[str, Any]], most: int) -> None:
    if not rows:
        return
    titles = [x for x in rows[0] if any(row[x] not in (None, "") for row in rows)]
    say()
    print_table(
        titles,
        [[row[x] for x in titles] for row in rows[:most]],
        title="Runs",
    )
    if len(rows) > most:
        say(f"and {len(rows) - most} more; --runs {len(rows)} shows all, --run N one of them")
    say()
