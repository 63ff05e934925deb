"""The command line: seal what no hook has sealed, and show what waits."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.recover import Recovered, recover
from ommx_prefect._registry.blobs import ROOT_VARIABLE, registry_root
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._values.display import for_terminal
from ommx_prefect.exceptions import NotSealedError, OmmxPrefectError, StageError

SECONDS_OF_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# Where output is no terminal: in a mail of cron, say.
PLAIN_WIDTH = 160
STYLES = {
    "sealed": "green",
    "sent": "green",
    "would seal": "cyan",
    "would send": "cyan",
    "waits": "yellow",
    "failed": "bold red",
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",  # which joins the lines of a paragraph
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Seal the OMMX Experiments of Prefect flow runs that no hook has sealed.

    A flow run's hook seals its experiment. After kill -9 of a script, SIGTERM of a process
    worker, or a power failure no hook runs, and the records wait in the Local Registry
    (`OMMX_LOCAL_REGISTRY_ROOT`) until `recover` finds them. Which Prefect is asked, the Prefect
    profile or `PREFECT_API_URL` says.

    Begin with `ommx-prefect status`, which changes nothing.""",
)


@app.callback()
def main() -> None:
    """Keep the commands apart, also if there is one only."""


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 90, 90s, 10m, 2h or 1d")
    return float(found[1]) * SECONDS_OF_UNIT[found[2]]


MinAge = Annotated[
    str,
    typer.Option(
        help="Leave alone what was touched later, here or in Prefect: 90s, 10m, 2h, 1d.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("recover")
def recover_command(
    min_age: MinAge = "10m",
    mark_crashed: Annotated[
        bool,
        typer.Option(
            "--mark-crashed",
            help="Also tell Prefect that a Running flow run whose process is gone is Crashed, "
            "now or after an earlier recovery. Prefect's rules apply: its automations see it.",
        ),
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Seal every flow run that ended, or died, and was not sealed.

    A flow run that Prefect calls ended is sealed as it ended. One that Prefect calls Running,
    while its process on this machine is gone, is sealed as interrupted. What runs, here or on
    another machine, is paused, or is to run again, is left alone and listed. Without Prefect's
    API only what needs no asking is sealed. On a worker's host it sends the records that could
    not be sent to their stage, and seals nothing.

    Run it as often as you like, also from cron, two at once, and beside running flows.

    Exit code: 0, or 1 when something could not be sealed or sent (it is kept), or 2 when an
    option is wrong.
    """
    seconds = _seconds(min_age)
    found = recover(min_age_seconds=seconds, mark_crashed=mark_crashed, dry_run=dry_run)
    _finish(found, as_json)


@app.command()
def status(min_age: MinAge = "10m", as_json: AsJson = False) -> None:
    """Show what waits unsealed, since when, and what `recover` would do about it."""
    _finish(recover(min_age_seconds=_seconds(min_age), dry_run=True), as_json)


@app.command("seal")
def seal_command(
    flow_run_id: Annotated[UUID, typer.Argument(help="Prefect's id of the flow run.")],
    interrupted: Annotated[
        bool,
        typer.Option(
            "--interrupted",
            help="Do not ask Prefect how it ended: it was interrupted. For flow runs that Prefect "
            "does not know any more, or whose machine is lost.",
        ),
    ] = False,
    stage: Annotated[
        str | None,
        typer.Option(
            help="Where its records wait, such as s3-bucket/shards; needed on a host on which "
            "the flow run never ran.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Seal one flow run (or task run outside flows) now, and say what is sealed.

    It may be sealed already: then the answer is the same, records that came later are added, and
    a push that failed is tried again. The exit code is 1 when it could not be sealed.
    """
    try:
        sealed = seal_by_hand(str(flow_run_id), interrupted=interrupted, stage=stage)
    except NotSealedError as error:
        _complain(
            f"Nothing of flow run {flow_run_id} is in the Local Registry {registry_root()}. "
            "Is OMMX_LOCAL_REGISTRY_ROOT that of the flow run, or does it wait in a --stage?"
        )
        raise typer.Exit(1) from error
    except OmmxPrefectError as error:
        _complain(str(error))
        raise typer.Exit(1) from error
    except OSError as error:
        _complain(f"The Local Registry {registry_root()} cannot be used: {error}")
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(asdict(sealed)))
        return
    _console().print(for_terminal(_said(sealed)), markup=False, highlight=False)


def _finish(found: Iterable[Recovered], as_json: bool) -> None:
    _require_registry()
    try:
        rows = list(found)
    except StageError as error:
        _complain(str(error))
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif rows:
        _console().print(_table(rows))
    else:
        _console().print(f"Nothing waits unsealed in {registry_root()}.", highlight=False)
    failed = [row for row in rows if row.done == "failed"]
    if failed:
        _complain(f"{len(failed)} of {len(rows)} could not be sealed; their records are kept.")
        raise typer.Exit(1)


def _require_registry() -> None:
    """End with a clear error where the registry that was asked for is not there at all."""
    if ROOT_VARIABLE in os.environ and not registry_root().exists():
        _complain(
            f"There is no Local Registry {registry_root()}: {ROOT_VARIABLE} names a folder that "
            "does not exist. Is it that of your flows?"
        )
        raise typer.Exit(1)


def _complain(text: str) -> None:
    _console(stderr=True).print(for_terminal(text), style="bold red", markup=False, highlight=False)


def _table(rows: Iterable[Recovered]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("flow", "flow run", "id", "Prefect", "waits since", "records", "done", "why"):
        table.add_column(title, overflow="fold", no_wrap=title == "id")
    for row in rows:
        why = f"{row.why}; {_said(row.sealed)}" if row.sealed else row.why
        records = f"{row.ended} ended, {row.open} open"
        style = STYLES[row.done]
        cells = (row.flow, row.name, row.owner, row.state, row.since, records, row.done, why)
        table.add_row(*(escape(for_terminal(cell)) for cell in cells), style=style)
    return table


def _said(sealed: SealedExperiment) -> str:
    runs = ", ".join(f"{count} {status}" for status, count in sealed.counts.items()) or "no"
    pushed = {None: "", True: ", pushed", False: f", NOT pushed ({sealed.push_problem})"}
    return f"{sealed.status}, {runs} Runs{pushed[sealed.pushed]}: {sealed.opens_with}"


def _console(*, stderr: bool = False) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else PLAIN_WIDTH)
