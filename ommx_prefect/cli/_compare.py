"""Say what became better or worse between nights: `compare OLD... NEW`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ommx_prefect._catalogue.opened import Opened
from ommx_prefect.cli._options import AsJson, completed
from ommx_prefect.cli._output import finding, print_json, refused, say
from ommx_prefect.cli._registry import open_here
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working

if TYPE_CHECKING:
    import pandas as pd

    from ommx_prefect.analysis import Comparison

MOST_ROWS = 100
TITLES = ("verdict", "instance", "adapter", "variant", "seed", "why", "time_ratio")
TIMES = ("adapter", "variant", "pairs", "ratio", "p", "regression")

Known = Annotated[
    str | None,
    typer.Option(
        "--known", help="Values that are known: a .solu file, or miplib2017, which is offline."
    ),
]
TimeThreshold = Annotated[
    float,
    typer.Option(
        help="From which ratio of the shifted geometric means time is a regression.", min=1.0
    ),
]
Significance = Annotated[
    float, typer.Option(help="Below which p-value times differ.", min=0.0, max=1.0)
]
Relative = Annotated[
    float, typer.Option(help="Objectives and bounds within this share are the same.", min=0.0)
]
Absolute = Annotated[float, typer.Option(help="And those this far apart.", min=0.0)]
AnyEnvironment = Annotated[
    bool,
    typer.Option("--any-environment", help="Compare times whatever machines the nights ran on."),
]


def known_table(known: str | None) -> pd.DataFrame:
    """Read the table of known values; end the command if it cannot be read."""
    from ommx_prefect.analysis import known_values

    try:
        return known_values(known)
    except (OSError, ValueError) as error:
        raise refused(error) from error


def compare_command(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="OLD... NEW",
            autocompletion=completed,
            help="One or more earlier nights, and the later one.",
        ),
    ],
    known: Known = None,
    time_threshold: TimeThreshold = 1.1,
    significance: Significance = 0.05,
    relative: Relative = 1e-4,
    absolute: Absolute = 1e-6,
    any_environment: AnyEnvironment = False,
    as_json: AsJson = False,
) -> None:
    """Compare the solves of a night with those of earlier ones, of which the median counts.

    Solves are paired by instance, solver, variant and seed. Times count only where the nights ran
    on comparable machines with the same solvers.

    Exit code: 1 where something became worse, where the later night did not finish, or where it
    contradicts itself, an earlier night or what is known.
    """
    from ommx_prefect.analysis import compare, contradictions, environments_of, solves

    if len(images) < 2:
        raise refused("give two images at least: an earlier night and the later one")
    with working("reading", len(images)) as work:
        nights = []
        for image in images:
            nights.append(open_here(image))
            work.advance(f"reading {image}")
        tables = [solves(each.experiment) for each in nights]
        environments = [environments_of(each.experiment) for each in nights]
        found = compare(
            tables[:-1],
            tables[-1],
            environments=None if any_environment else environments,
            time_threshold=time_threshold,
            significance=significance,
            relative=relative,
            absolute=absolute,
        )
        wrong = contradictions(
            tables[-1],
            known_table(known),
            earlier=tables[:-1],
            absolute=absolute,
            relative=relative,
        )
    if as_json:
        print_json(_document(nights, found, wrong))
    else:
        _show(nights, found, wrong)
    status = _status(nights[-1])
    if found.regressions or len(wrong) or status != "finished":
        said = f"{len(found.regressions)} became worse, {len(wrong)} contradictions"
        raise finding(said if status == "finished" else f"{said}; {nights[-1].name} is {status}")


def _status(night: Opened) -> str:
    return night.experiment.status or "finished"


def _document(nights: list[Opened], found: Comparison, wrong: pd.DataFrame) -> dict[str, Any]:
    return {
        "before": [each.name for each in nights[:-1]],
        "after": nights[-1].name,
        "status": _status(nights[-1]),
        "counts": found.counts,
        "regressions": found.regressions,
        "contradictions": wrong.to_dict("records"),
        "not_comparable": found.not_comparable,
        "options": dict(found.options),
        "times": found.times.to_dict("records"),
        "table": found.table.to_dict("records"),
    }


def _show(nights: list[Opened], found: Comparison, wrong: pd.DataFrame) -> None:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in found.counts.items())
    say(f"{' and '.join(each.name for each in nights[:-1])}, then {nights[-1].name}", "bold")
    say(counts or "there is nothing to compare")
    changed = found.table[found.table["verdict"] != "same"].sort_values("verdict", ascending=False)
    if len(changed):
        say()
        print_table(TITLES, _cells(changed.head(MOST_ROWS), TITLES))
    if len(changed) > MOST_ROWS:
        say(f"and {len(changed) - MOST_ROWS} more: --json has all")
    if len(wrong):
        say()
        print_table(list(wrong.columns), wrong.values.tolist(), title="Contradictions")
    for why in found.not_comparable:
        say(f"Times are not compared: {why}", "yellow")
    if len(found.times):
        say()
        title = "Times, not compared" if found.not_comparable else "Times"
        print_table(TIMES, _cells(found.times, TIMES), title=title)
    for line in found.regressions:
        say(f"worse: {line}", "bold red")


def _cells(table: pd.DataFrame, columns: tuple[str, ...]) -> list[list[Any]]:
    rows: list[list[Any]] = table[list(columns)].astype(object).values.tolist()
    return rows
