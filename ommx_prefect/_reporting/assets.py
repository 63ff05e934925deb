"""Register the repository of an experiment as a Prefect asset: `oci://registry/repository`.

A finished night materializes it, with name, digest and counts of that night as metadata, from the
assets that the flow's tasks have used or made. An anonymous experiment is no asset: its name is
this machine's alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from prefect.context import AssetContext, FlowRunContext
from prefect.events import emit_event

from ommx_prefect._oci.names import is_local_registry, split_name
from ommx_prefect._reporting.events import related_to
from ommx_prefect._reporting.night import Night

MATERIALIZED = "prefect.asset.materialization.succeeded"


def asset_key(image_name: str) -> str:
    """Return the asset key of an image name; empty for an anonymous one."""
    where = split_name(image_name)
    is_local = is_local_registry(where.registry)
    return "" if is_local else f"oci://{where.registry}/{where.repository}"


def tell_materialized(night: Night) -> None:
    """Emit the event that a finished experiment is a new version of its asset."""
    sealed, key = night.sealed, asset_key(night.sealed.image_name)
    if sealed.status != "finished" or not key:
        return
    by = AssetContext.related_materialized_by("ommx-prefect")
    emit_event(
        MATERIALIZED,
        resource={"prefect.resource.id": key, "prefect.resource.name": key.rpartition("/")[2]},
        related=[*_upstream(), by, *related_to(night.facts)],
        payload={
            "image_name": sealed.image_name,
            "digest": sealed.manifest_digest,
            "runs": dict(sealed.counts),
            "pushed": sealed.pushed,
        },
    )


def _upstream() -> Iterator[dict[str, str]]:
    """Return the assets of the tasks of the flow run that ends here."""
    context = FlowRunContext.get()
    used = context.task_run_assets.values() if context else ()
    assets = {asset.key: asset for some in used for asset in some}
    for key in sorted(assets):
        yield AssetContext.asset_as_related(assets[key])
