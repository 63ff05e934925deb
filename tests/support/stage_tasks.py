"""What the flows of the tests of stages do, and what happens to their records."""

from __future__ import annotations

import json
from typing import Any

import prefect

from ommx_prefect import flow, task
from ommx_prefect._registry.blobs import blob_path
from tests.support.places import Place
from tests.support.reading import Sealed, run_flow

# What no record has in it: it is a blob beside it.
LARGE = "x" * 20_000


@task
def note(x: Any) -> dict[str, Any]:
    return {"x": x}


def one_night(stage: str, name: str | None, payload: Any = 1) -> Sealed:
    """Run a flow of one task."""

    @flow(stage=stage, experiment=name)
    def night() -> None:
        note(payload)

    return run_flow(night)


def lose_here(place: Place) -> dict[str, bytes]:
    """Remove the payload of all shards from this host, as if they came from another one."""
    objects = place.objects(prefect.runtime.flow_run.id)
    shards = [json.loads(data) for name, data in objects.items() if "/shards/" in name]
    digests = {layer["digest"] for shard in shards for layer in shard["layers"]}
    lost = {digest: place._ask("GET", f"blobs/{digest}").content for digest in digests}
    for digest in digests:
        blob_path(digest).unlink(missing_ok=True)  # small payload is in its record alone
    return lost
