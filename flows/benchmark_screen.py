"""What do people see of a benchmark: as it runs, when it ends, and how to open what is sealed?

Names of files are text, never rich's markup: a file may be called `[/red].mps`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from textwrap import shorten

from benchmark_rows import (
    CONTRADICTION_COLUMNS,
    SUMMARY_COLUMNS,
    TOTALS_COLUMNS,
    Columns,
    Row,
)
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ommx_prefect import SealedExperiment, load_experiment, seal
from ommx_prefect.analysis import Comparison
from ommx_prefect.exceptions import OmmxPrefectError

PIPE_WIDTH = 160
LONGEST_REASON = 200
# The run parameters that the line at the end shows.
OPENED_COLUMNS = ["instance", "adapter", "outcome", "objective", "solve_seconds"]
STYLES = {
    "optimal": "green",
    "feasible": "yellow",
    "no_solution": "yellow",
    "error": "red",
    "unreadable": "red",
}

Show = Callable[[Row, list[str]], None]


def console_here() -> Console:
    """Return a console as wide as the terminal, or as a table needs where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


@contextmanager
def progress(console: Console, total: int) -> Iterator[Show]:
    """Print a line for each result, and on a terminal a bar and what is running now."""
    columns = (
        MofNCompleteColumn(),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[running]}", markup=False),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        solves = bar.add_task("", total=total, running="")

        def show(row: Row, running: list[str]) -> None:
            console.print(line_of(row), no_wrap=True, overflow="ellipsis")
            bar.update(solves, advance=1, running=", ".join(running))

        yield show


def line_of(row: Row) -> Text:
    """Return the line of a result."""
    cells = [cell(row, key, form) for key, _, form in SUMMARY_COLUMNS[6:]]
    return Text.assemble(f"{label(row):<40} ", Text("  ").join(filter(None, cells)))


def label(row: Row) -> str:
    """Return the short name of a solve."""
    seed = "" if row["seed"] is None else f" seed {row['seed']}"
    variant = f" {row['variant']}" if row["variant"] else ""
    return printable(f"{row['instance']} {row['adapter'] or ''}{variant}{seed}".strip())


def print_tables(
    console: Console, rows: list[Row], totals: list[Row], contradictions: list[Row]
) -> None:
    """Print what came of every solve, the sums, and what cannot all be true."""
    console.print(table("Runs", SUMMARY_COLUMNS, rows), table("Totals", TOTALS_COLUMNS, totals))
    if contradictions:
        console.print(table("Contradictions", CONTRADICTION_COLUMNS, contradictions))


def print_comparison(found: Comparison, before: str) -> None:
    """Print how a night compares with an earlier one."""
    counts = ", ".join(f"{number} {verdict}" for verdict, number in found.counts.items())
    print("\n" + printable(f"Compared with {before}: {counts}"))
    for why in found.not_comparable:
        print(printable(f"Times are not compared: {why}"))
    for sentence in found.regressions:
        print(printable(f"Worse: {sentence}"))


def table(title: str, columns: Columns, rows: list[Row]) -> Table:
    """Return a table for the screen, without the columns that hold nothing."""
    shown = [each for each in columns if any(row[each[0]] not in (None, "") for row in rows)]
    result = Table(title=title, title_justify="left")
    for _, heading, form in shown:
        result.add_column(heading, justify="left" if form == "s" else "right", overflow="fold")
    for row in rows:
        result.add_row(*(cell(row, key, form) for key, _, form in shown))
    return result


def cell(row: Row, key: str, form: str) -> Text:
    """Return the text of a cell; nothing for None. The whole of a long reason is in its Run."""
    text = "" if row[key] is None else format(row[key], form)
    if key == "reason":
        text = shorten(text, LONGEST_REASON, placeholder="…")
    return Text(printable(text), STYLES.get(text, "") if key == "outcome" else "")


def printable(text: str) -> str:
    """Write what would move the cursor or colour the screen as escapes: names may hold that too."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def announce(sealed: SealedExperiment, columns: Sequence[str] = OPENED_COLUMNS) -> None:
    """Say what was sealed and how it is opened, in lines that no terminal cuts.

    Args:
        sealed: What was sealed.
        columns: The run parameters that are shown to whoever opens it.
    """
    counts = ", ".join(f"{count} {status}" for status, count in sealed.counts.items())
    print(f"\nSealed {sealed.image_name}\n       {sealed.manifest_digest} ({counts})")
    for warning in sealed.warnings:
        print(f"Warning: {warning}")
    needed = "import ommx_prefect" if sealed.parts else "from ommx.experiment import Experiment"
    opened = sealed.opens_with.replace('"', "'")
    code = f"{needed}; e = {opened}"
    shown = f"filter({list(columns)}).to_string()"
    print(f'Open it:\n  python -c "{code}; print(e.run_parameters_df().{shown})"')


def announce_failure(said: str, flow_run_id: object) -> None:
    """Say why a flow run failed, and how to open what was sealed of it all the same.

    Args:
        said: Why it failed.
        flow_run_id: Prefect's id of it.
    """
    print(said, file=sys.stderr)
    with suppress(OmmxPrefectError):  # it was refused before it began: nothing is sealed of it
        load_experiment(str(flow_run_id))
        announce(seal(str(flow_run_id)))
