"""Options and arguments that several commands have, and how they are read."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ommx_prefect._catalogue.opened import known_names

SECONDS_OF_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as `90s`, `10m`, `2h` or `1d`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 90, 90s, 10m, 2h or 1d")
    return float(found[1]) * SECONDS_OF_UNIT[found[2]]


def pair_of(text: str) -> tuple[str, str]:
    """Return the name and the value of `name=value`."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise typer.BadParameter(f"{text!r} is no name=value")
    return name, value


def completed(incomplete: str) -> list[str]:
    """Return the known image names that begin with a text, for the shell's completion."""
    try:
        return known_names(incomplete)
    except Exception:  # a completion that fails must not disturb the prompt
        return []


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
MinAge = Annotated[
    str,
    typer.Option(
        help="Leave alone what was touched later, here or in Prefect: 90s, 10m, 2h, 1d.",
    ),
]
Image = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        autocompletion=completed,
        help="Image name, also of a failed night; without a tag the newest of its repository; or "
        "Prefect's id of a flow run.",
    ),
]
Prefix = Annotated[
    str,
    typer.Argument(metavar="[PREFIX]", autocompletion=completed, help="Of image names."),
]
