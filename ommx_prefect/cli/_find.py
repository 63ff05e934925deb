"""Find Runs across all experiments: `find key=value ...`."""

from __future__ import annotations

from typing import Annotated

import typer

from ommx_prefect._catalogue.listing import listed
from ommx_prefect._catalogue.search import Condition, every_run, unknown_keys
from ommx_prefect.cli._options import AsJson
from ommx_prefect.cli._output import print_json, refused, say
from ommx_prefect.cli._registry import require_registry
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working

# Title -> run parameter that is shown, besides those of the conditions.
SHOWN = {
    "status": "status",
    "instance": "instance",
    "adapter": "adapter",
    "outcome": "outcome",
    "objective": "objective",
    "seconds": "solve_seconds",
}


def find_command(
    conditions: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="What run parameters must be: outcome=error, solve_seconds>10, instance~knap, "
            "status=failed. Also !=, >=, <= and <.",
        ),
    ],
    prefix: Annotated[str, typer.Option("--in", help="Beginning of the image names.")] = "",
    as_json: AsJson = False,
) -> None:
    """Find the Runs of all experiments here whose parameters are like this, the newest first."""
    try:
        wanted = [Condition.parse(text) for text in conditions]
    except ValueError as error:
        raise refused(error) from error
    require_registry()
    with working("searching") as work:
        experiments = listed(prefix)
        rows, known = [], set[str]()
        for row in every_run(experiments):
            known |= row.parameters.keys()
            if not all(x.holds(row.parameters) for x in wanted):
                continue
            rows.append(row)
            work.text = f"searching; {len(rows)} found, last in {row.image}"
    if as_json:
        print_json([vars(row) for row in rows])
    elif rows:
        keys = {**SHOWN, **{x.key: x.key for x in wanted if x.key not in SHOWN.values()}}
        cells = [[row.image, row.run, *map(row.parameters.get, keys.values())] for row in rows]
        print_table(("image", "run", *keys), cells)
    else:
        for line in unknown_keys(wanted, known) if known else ():
            say(line)
        say("No Run is like this.")
