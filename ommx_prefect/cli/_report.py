"""Write one HTML page about a night: `report IMAGE -o night.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ommx_prefect.cli._compare import Known, known_table
from ommx_prefect.cli._options import AsJson, completed
from ommx_prefect.cli._output import print_json, refused, say
from ommx_prefect.cli._registry import open_here
from ommx_prefect.cli._waiting import working


def report_command(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE [EARLIER...]",
            autocompletion=completed,
            help="The night, and earlier ones to compare it with.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")] = Path(
        "night.html"
    ),
    known: Known = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page about a night, which opens without a network and prints.

    It has the verdict, totals, failures with their reasons, contradictions, the profile of the
    solvers, gaps over time, the comparison with earlier nights, all solves, and the environment.
    """
    from ommx_prefect.analysis import write_report

    values = known_table(known)
    with working("reading", len(images) + 1) as work:
        nights = []
        for image in images:
            nights.append(open_here(image))
            work.advance(f"reading {image}")
        night, *earlier = nights
        before = [each.experiment for each in earlier]
        try:
            write_report(night.experiment, output, earlier=before, known=values, name=night.name)
        except OSError as error:
            raise refused(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        print_json({"night": night.name, "earlier": [x.name for x in earlier], "page": output})
    else:
        say(f"{output}: {night.name}")
