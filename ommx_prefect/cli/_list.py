"""Show what the Local Registry has: `list`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Annotated

import typer
from ommx.experiment import Experiment

from ommx_prefect._catalogue.listing import Listed, listed
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect.cli._claims import claims_of
from ommx_prefect.cli._options import AsJson, completed
from ommx_prefect.cli._output import print_json, say, shown_age, shown_bytes
from ommx_prefect.cli._registry import require_registry
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working

TITLES = (
    *("image", "status", "flow", "deployment", "flow run", "runs", "solves", "size", "age"),
    "flags",
)


def list_command(
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="[PREFIX]",
            autocompletion=completed,
            help="Beginning of image names; of flows, if unsealed.",
        ),
    ] = "",
    parts: Annotated[
        bool, typer.Option("--parts", help="List the parts of large experiments, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show sealed experiments, checkpoints of failed nights, and flow runs left unsealed.

    Flags: `degraded`, where something could not be recorded; `contradiction`, where solves of one
    night cannot all be right; `unreadable`, where its solves cannot be looked at.
    """
    require_registry()
    with working(f"reading {registry_root()}") as work:
        found = listed(prefix, parts=parts)
        work.total = len(found)
        rows = list(_flagged(found, work.advance))
    if as_json:
        print_json([asdict(row) for row in rows])
    elif rows:
        print_table(TITLES, map(_cells, rows), right=("size", "age"))
    else:
        say(f"There is no experiment in {registry_root()}{f' under {prefix}' if prefix else ''}.")


def _flagged(found: Iterable[Listed], advance: Callable[[], object]) -> Iterator[Listed]:
    for each in found:
        flag = _flag(each) if each.stored_name else ""
        yield replace(each, flags=(*each.flags, flag)) if flag else each
        advance()


def _flag(each: Listed) -> str:
    """Return the flag of a night's solves; an unreadable night does not stop the list."""
    try:
        is_wrong = bool(len(claims_of(Experiment.load(each.stored_name))))
    except (RuntimeError, ValueError):  # a draft, or parts that are elsewhere
        return ""
    except Exception:
        return "unreadable"
    return "contradiction" if is_wrong else ""


def _cells(row: Listed) -> tuple[object, ...]:
    image = row.image if row.kind != "checkpoint" else f"{row.image} (checkpoint)"
    return (
        *(image, row.status, row.flow, row.deployment, row.flow_run, row.runs, row.solves),
        *(shown_bytes(row.bytes), shown_age(row.updated_at), " ".join(row.flags)),
    )
