"""Show the room that experiments take: `du`."""

from __future__ import annotations

import contextlib
from typing import Any

from ommx.artifact import gc

from ommx_prefect._catalogue.listing import listed
from ommx_prefect._catalogue.sizes import layer_sizes, own_bytes, total_bytes
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect.cli._options import AsJson, Prefix
from ommx_prefect.cli._output import print_json, say, shown_bytes
from ommx_prefect.cli._registry import require_registry
from ommx_prefect.cli._table import print_table
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import DocumentError

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
