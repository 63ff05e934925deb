"""Disk space: `du` and `prune`."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import typer
from ommx.artifact import gc

from ommx_prefect._catalogue.keeping import prunable_files
from ommx_prefect._catalogue.listing import Listed, listed
from ommx_prefect._catalogue.pruning import Prunable, prunable
from ommx_prefect._catalogue.sizes import layer_sizes, own_bytes, total_bytes
from ommx_prefect._flowrun.registry import load_registry
from ommx_prefect._recovery.recover import Recovered, recover
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect.blocks import OMMXRegistry
from ommx_prefect.cli._options import AsJson, Prefix, seconds_of
from ommx_prefect.cli._output import finding, print_json, refused, say, shown_bytes
from ommx_prefect.cli._registry import require_registry
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import DocumentError, InvalidImageNameError

# What frees the room of blobs that no name reaches: OMMX installs no command for it.
FREE = "python -c 'from ommx.artifact import gc; gc(delete=True)'"


def du_command(
    prefix: Prefix = "",
    as_json: AsJson = False,
) -> None:
    """Show the room that experiments take, and what of it is theirs alone."""
    require_registry()
    with working(f"measuring {registry_root()}"):
        document = _measured(prefix)
    if as_json:
        print_json(document)
        return
    rows = [
        (x["image"], x["kind"], shown_bytes(x["bytes"]), shown_bytes(x["own_bytes"]))
        for x in document["experiments"]
    ]
    print_table(("image", "kind", "size", "own"), rows, right=("size", "own"))
    say(f"{shown_bytes(document['bytes'])} in all, each blob once")
    if unreached := document["unreached_bytes"]:
        say(f"{shown_bytes(unreached)} that no name reaches; to free them: {FREE}")


def _measured(prefix: str) -> dict[str, Any]:
    found = listed(prefix)
    sizes: dict[str, dict[str, int]] = {}
    for each in found:
        with contextlib.suppress(DocumentError, ValueError, KeyError):
            sizes.setdefault(each.digest, layer_sizes(each.digest) if each.digest else {})
    own = own_bytes(sizes)
    report = gc(root=registry_root())
    rows = [
        {
            "image": each.image,
            "kind": each.kind,
            "bytes": each.bytes,
            "own_bytes": own.get(each.digest, 0) if each.digest else each.bytes,
        }
        for each in found
    ]
    rows.sort(key=lambda row: -int(str(row["bytes"])))
    return {
        "root": registry_root(),
        "experiments": rows,
        "bytes": total_bytes(sizes.values()),
        "unreached_bytes": report.orphan_candidate_size + report.deferred_size,
    }


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
