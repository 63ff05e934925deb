"""What another host has sealed of a flow run, read back from the registry of its name.

`sealed.json` lies on the host that sealed. Where the experiment was composed in a registry, that
tells the same to any other host which finds the records: because the host died before it removed
them, or because the registry removes nothing. Without it they would be sealed a second time.
"""

from __future__ import annotations

import json

from ommx_prefect import _ledger
from ommx_prefect._decode import decode
from ommx_prefect._flow_start import FlowRecord
from ommx_prefect._gather import count_by_status, entries_of_sealed
from ommx_prefect._home import Home
from ommx_prefect._homes import homes_for
from ommx_prefect._records import Documents
from ommx_prefect._sealed import FLOW_RUN_ANNOTATION, SealedExperiment, write_sealed
from ommx_prefect._stage import LocalStage
from ommx_prefect.exceptions import DocumentError


def adopt(stage: LocalStage, record: FlowRecord) -> tuple[SealedExperiment, frozenset[str]] | None:
    """Take over what stands in the registry under the name of a flow run, if it is its own.

    Returns:
        As `read_sealed` does; it is kept for later seals on this host.
    """
    home = homes_for(stage, record.image_name, "finished")[0]
    digest = home.find(record.image_name) if home.composed_in else None
    documents = digest and _own_documents(home, digest, record.flow_run_id)
    if not documents:
        return None
    entries, experiment = entries_of_sealed(home, documents)
    ledger = json.loads(home.read_blob(experiment.attachments.entries[_ledger.NAME]))
    sealed = SealedExperiment(
        flow_run_id=stage.owner,
        image_name=record.image_name,
        manifest_digest=documents.digest,
        status=experiment.status,
        counts=count_by_status(entries),
        warnings=tuple(ledger["warnings"]),
        stored_name=record.image_name,
        pushed=True,
        composed_in=home.composed_in,
    )
    # The shard of an attempt that was cut off may have come since.
    keys = frozenset(entry.key for entry in entries if entry.record.status != "interrupted")
    write_sealed(stage, sealed, sorted(keys))
    return sealed, keys


def _own_documents(home: Home, digest: str, flow_run_id: str) -> Documents | None:
    try:
        documents = home.read(digest)
        own = decode(documents).annotations.get(FLOW_RUN_ANNOTATION) == flow_run_id
    except DocumentError:  # an image of something else
        return None
    return documents if own else None
