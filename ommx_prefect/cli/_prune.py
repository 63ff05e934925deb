"""Let go of old nights, superseded checkpoints and dead flow runs: `prune`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ommx_prefect._catalogue.keeping import prunable_files
from ommx_prefect._catalogue.listing import Listed, listed
from ommx_prefect._catalogue.pruning import Prunable, prunable
from ommx_prefect._flowrun.registry import load_registry
from ommx_prefect._recovery.recover import Recovered, recover
from ommx_prefect.blocks import OMMXRegistry
from ommx_prefect.cli._options import AsJson, Prefix, seconds_of
from ommx_prefect.cli._output import finding, print_json, refused, say, shown_bytes
from ommx_prefect.cli._registry import require_registry
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import InvalidImageNameError


def prune_command(
    prefix: Prefix = "",
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, help="Let go of all but so many nights of a repository."),
    ] = None,
    registry: Annotated[
        str,
        typer.Option(
            help="An OMMX Registry block, such as ommx-registry/prod: its repository, and as many "
            "nights as its retention says, where PREFIX and --keep say nothing."
        ),
    ] = "",
    older_than: Annotated[
        str,
        typer.Option(help="Checkpoints and unsealed flow runs untouched for so long: 12h, 30d."),
    ] = "30d",
    delete: Annotated[
        bool, typer.Option("--delete", help="Do it; without it only what would go is said.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove old nights, superseded checkpoints, and flow runs that nobody will seal.

    The parts of a large experiment are removed with it, and never alone. Names are removed, and
    records are moved aside; OMMX's `ommx.artifact.gc(delete=True)` frees the disk space that no
    name reaches. Until then each line says how to restore what was removed. Documents of flow runs
    that were sealed long ago go into one file. What belongs to a flow run that is open, here or for
    Prefect, stays.
    """
    require_registry()
    min_age = seconds_of(older_than)
    block = _block(registry) if registry else None
    with working("looking"):
        found = _listed_of(block) if block and not prefix else listed(prefix, parts=True)
        keep = block.retention if block and keep is None else keep
        unsealed = any(each.kind == "unsealed" for each in found)
        rows: list[Recovered] = list(recover(dry_run=True)) if unsealed else []
        gone = list(prunable(found, rows, keep=keep, min_age=min_age))
        gone += prunable_files(min_age, prefix or (_base_of(block) if block else ""))
    failed = _removed(gone) if delete else []
    if as_json:
        print_json([{**_document(each), "deleted": delete} for each in gone])
    else:
        _show(gone, delete)
    if failed:
        raise finding("; ".join(failed))


def _block(name: str) -> OMMXRegistry:
    try:
        return load_registry(name)
    except InvalidImageNameError as error:
        raise refused(error) from error


def _listed_of(block: OMMXRegistry) -> list[Listed]:
    """Return what is in the repository of a block and below it, and not in one named likewise."""
    base = _base_of(block)
    return [x for x in listed(base, parts=True) if f"{x.repository}/".startswith(f"{base}/")]


def _base_of(block: OMMXRegistry) -> str:
    return f"{block.registry}/{block.repository}".rstrip("/")


def _document(each: Prunable) -> dict[str, Any]:
    return {key: value for key, value in vars(each).items() if not key.startswith("_")}


def _removed(gone: list[Prunable]) -> list[str]:
    failed = []
    for each in gone:
        try:
            each.remove()
        except (OSError, RuntimeError) as error:
            failed.append(f"{each.name} stays: {error}")
    return failed


def _show(gone: list[Prunable], delete: bool) -> None:
    for each in gone:
        say(f"{each.kind} {each.name}, {shown_bytes(each.bytes)}: {each.why}", "bold")
        say(f"  to restore: {each.restore}")
    if not gone:
        say("Nothing is to go.")
    elif not delete:
        say(f"{len(gone)} would go; --delete lets them go.")
