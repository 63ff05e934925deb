"""What stands of a flow run although `sealed.json` does not tell: read back from its experiment.

`sealed.json` lies on the host that sealed, and somebody may have moved it away. Where an experiment
was composed in a registry, that tells the same to any other host which finds the records: because
the host died before it removed them, or because the registry removes nothing. Without it they
would be sealed a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Documents
from ommx_prefect._registry.names import checkpoint_name
from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.result import (
    FLOW_RUN_ANNOTATION,
    SealedExperiment,
    read_answer,
    read_sealed,
    target_of_sealed,
    write_sealed,
)
from ommx_prefect._sealing.staged import count_by_status, entries_of_sealed
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.choose import targets_for
from ommx_prefect._targets.local import LocalTarget
from ommx_prefect._targets.protocol import Target
from ommx_prefect.exceptions import DocumentError

Answer = tuple[SealedExperiment, frozenset[str]]


def sealed_before(stage: Stage, record: FlowRecord) -> Answer | None:
    """Return what was sealed of a flow run, and the shards it covers, while it is held somewhere.

    Its name may point to another experiment since; if it was removed, it is put back.
    """
    found = read_sealed(stage) or _adopt(stage, record) or read_answer(stage)
    if found is None:
        return None
    sealed, _ = found
    target = target_of_sealed(sealed)
    if not target.holds(sealed.manifest_digest):
        return None
    if target.find(sealed.stored_name) is None:
        target.publish(sealed.manifest_digest, {sealed.stored_name: None})
    return found


def _adopt(stage: Stage, record: FlowRecord) -> Answer | None:
    """Take over what stands under the name of a flow run, if it is its own."""
    for target, image_name, stored_name in _places(stage, record):
        digest = target.find(stored_name)
        documents = digest and own_documents(target, digest, record.flow_run_id)
        if documents:
            return _adopted(stage, target, documents, image_name, stored_name)
    return None


def _places(stage: Stage, record: FlowRecord) -> Iterator[tuple[Target, str, str]]:
    """Yield the targets, image names and stored names under which it could stand."""
    for name in (record.image_name, record.other_name):
        for target in targets_for(stage, name, "finished"):
            yield target, name, name
        yield LocalTarget(stage), name, checkpoint_name(name)


def _adopted(
    stage: Stage, target: Target, documents: Documents, image_name: str, stored_name: str
) -> Answer:
    entries, experiment = entries_of_sealed(target, documents)
    told = json.loads(target.read_blob(experiment.attachments.entries[ledger.NAME]))
    sealed = SealedExperiment(
        flow_run_id=stage.owner,
        image_name=image_name,
        manifest_digest=documents.digest,
        status=experiment.status,
        counts=count_by_status(entries),
        warnings=tuple(told["warnings"]),
        stored_name=stored_name,
        pushed=True if target.target_stage else None,
        composed_in=target.target_stage,
    )
    # The shard of an attempt that was cut off may have come since.
    keys = frozenset(entry.key for entry in entries if entry.record.status != "interrupted")
    write_sealed(stage, sealed, sorted(keys))
    return sealed, keys


def own_documents(target: Target, digest: str, flow_run_id: str) -> Documents | None:
    """Return the documents of an experiment if it is that of this flow run."""
    if annotations_of(target, digest).get(FLOW_RUN_ANNOTATION) != flow_run_id:
        return None
    return target.read(digest)


def annotations_of(target: Target, digest: str) -> Mapping[str, str]:
    """Return the annotations of an experiment; none where it is an image of something else."""
    try:
        return decode(target.read(digest)).annotations
    except DocumentError:
        return {}
