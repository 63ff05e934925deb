"""Seal what no hook has sealed, and show what waits: `recover`, `status`, `seal`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.recover import Recovered, recover
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._values.display import for_terminal
from ommx_prefect.cli._options import AsJson, DryRun, MinAge, seconds_of
from ommx_prefect.cli._output import complain, console, print_json
from ommx_prefect.cli._registry import require_registry
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import NotSealedError, OmmxPrefectError, StageError

TITLES = ("flow", "flow run", "id", "Prefect", "waits since", "records", "done", "why")


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
    seconds = seconds_of(min_age)
    found = recover(min_age_seconds=seconds, mark_crashed=mark_crashed, dry_run=dry_run)
    _finish(found, as_json, "looking" if dry_run else "sealing")


def status_command(min_age: MinAge = "10m", as_json: AsJson = False) -> None:
    """Show what waits unsealed, since when, and what `recover` would do about it."""
    _finish(recover(min_age_seconds=seconds_of(min_age), dry_run=True), as_json, "looking")


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
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine",
            help="Set damaged records aside, where they are kept, and seal the rest. Each attempt "
            "among them gets a Run that is interrupted, with the reason.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Seal one flow run (or task run outside flows) now, and say what is sealed.

    It may be sealed already: then the answer is the same, records that came later are added, and
    a push that failed is tried again. The exit code is 1 when it could not be sealed.
    """
    try:
        with working(f"sealing {flow_run_id}"):
            sealed = seal_by_hand(
                str(flow_run_id), interrupted=interrupted, stage=stage, quarantine=quarantine
            )
    except NotSealedError as error:
        complain(
            f"Nothing of flow run {flow_run_id} is in the Local Registry {registry_root()}. "
            "Is OMMX_LOCAL_REGISTRY_ROOT that of the flow run, or does it wait in a --stage?"
        )
        raise typer.Exit(1) from error
    except OmmxPrefectError as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except OSError as error:
        complain(f"The Local Registry {registry_root()} cannot be used: {error}")
        raise typer.Exit(1) from error
    if as_json:
        print_json(asdict(sealed))
        return
    console().print(for_terminal(_summary_of(sealed)), markup=False, highlight=False)


def _finish(found: Iterable[Recovered], as_json: bool, doing: str) -> None:
    require_registry()
    rows = []
    try:
        with working(doing) as work:
            for row in found:
                rows.append(row)
                work.advance(f"{doing}; last: {row.flow} {row.name}")
    except StageError as error:
        complain(str(error))
        raise typer.Exit(1) from error
    if as_json:
        print_json(list(map(_as_json, rows)))
    elif rows:
        print_table(TITLES, map(_cells, rows))
    else:
        console().print(f"Nothing waits unsealed in {registry_root()}.", highlight=False)
    failed = [row for row in rows if row.done == "failed"]
    if failed:
        could = "could not" if doing == "sealing" else "cannot"
        complain(f"{len(failed)} of {len(rows)} {could} be sealed; their records are kept.")
        raise typer.Exit(1)


def _as_json(row: Recovered) -> dict[str, object]:
    """Return the fields of a row; `owner` is what release 0.1.0 called the id."""
    return {"owner": row.flow_run_id, **asdict(row)}


def _cells(row: Recovered) -> tuple[str, ...]:
    why = f"{row.why}; {_summary_of(row.sealed)}" if row.sealed else row.why
    records = f"{row.ended} ended, {row.open} open"
    return row.flow, row.name, row.flow_run_id, row.state, row.since, records, row.done, why


def _summary_of(sealed: SealedExperiment) -> str:
    runs = ", ".join(f"{count} {status}" for status, count in sealed.counts.items()) or "no"
    pushed = {None: "", True: ", pushed", False: f", NOT pushed ({sealed.push_problem})"}
    return f"{sealed.status}, {runs} Runs{pushed[sealed.pushed]}: {sealed.opens_with}"
