"""Decide what a new experiment takes over of the nights before: `flow(lineage="accumulate")`.

That is all that the image of the previous night holds: its own Runs, and those of the nights before
it. Payload is taken over by its digest. A seal that extends an experiment keeps what that has of
earlier nights, and takes nothing over a second time.
"""

from __future__ import annotations

from dataclasses import replace

from ommx_prefect._format.decode import descriptor_of, layers_in, manifest_of
from ommx_prefect._format.model import Descriptor
from ommx_prefect._registry.blobs import blob_path, read_blob, read_documents
from ommx_prefect._sealing.composed import bring_composed
from ommx_prefect._sealing.earlier import LEFT_OUT, Earlier, joined, moved, with_flow_run
from ommx_prefect._sealing.ledger import EarlierNight
from ommx_prefect._sealing.lineage import ACCUMULATE, Series, subject_of
from ommx_prefect._sealing.load import SealInputs
from ommx_prefect._sealing.previous import SealedContents, contents_of
from ommx_prefect._shards.names import FlowRunId
from ommx_prefect._targets.annotations import FLOW_NAME, FLOW_RUN_ID
from ommx_prefect._targets.local import LocalTarget
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError, OmmxPrefectError

# The warning of an experiment that was to follow a night, and does not.
FOLLOWS_NONE = "degraded: this experiment follows no night before it"
NOT_THIS_FLOWS = (
    "this host did not start the flow run, and Prefect does not say that both are of one flow"
)


def earlier_of(inputs: SealInputs) -> Earlier:
    """Return what an experiment has of the nights before it."""
    before = inputs.contents
    if before.documents is not None:
        said = (x for x in before.warnings if x.startswith((LEFT_OUT, FOLLOWS_NONE)))
        return replace(before.earlier, subject=subject_of(inputs), note=next(said, ""))
    if not inputs.record.lineage:
        return Earlier()
    try:
        return _of_night_before(inputs)
    except (OmmxPrefectError, OSError, RuntimeError) as error:
        return Earlier(note=f"{FOLLOWS_NONE}: {describe_error(error)}")


def _of_night_before(inputs: SealInputs) -> Earlier:
    accumulates = inputs.record.lineage == ACCUMULATE
    if accumulates and inputs.stage.serves(inputs.record.image_name):
        bring_composed(Series.of_record(inputs.record))
    subject = subject_of(inputs)
    if subject is None:
        return Earlier()
    _require_whole(subject.digest)
    if not accumulates:
        return Earlier(subject)
    try:
        return _taken_over(subject, inputs)
    except DocumentError as error:
        return Earlier(subject).left_out(describe_error(error))


def _require_whole(digest: str) -> None:
    """Raise DocumentError unless an image, and all that it follows, has what it names.

    OMMX (3.0.0b7) gives no name to an image whose subject is not whole.
    """
    followed: str | None = digest
    seen: set[tuple[str, int]] = set()  # nights that accumulate have nearly all in common
    while followed:
        manifest = manifest_of(read_blob(followed))
        for layer in (descriptor_of(manifest["config"]), *layers_in(manifest)):
            if (layer.digest, layer.size) not in seen:
                _require(layer)
                seen.add((layer.digest, layer.size))
        followed = (manifest.get("subject") or {}).get("digest")


def _require(layer: Descriptor) -> None:
    """Raise DocumentError unless the Local Registry has a blob, which is not read for that."""
    try:
        size = blob_path(layer.digest).stat().st_size
    except OSError as error:
        raise DocumentError(f"blob {layer.digest} cannot be read: {error.strerror}") from error
    if size != layer.size:
        raise DocumentError(f"blob {layer.digest} has {size} bytes instead of {layer.size}")


def _taken_over(subject: Descriptor, inputs: SealInputs) -> Earlier:
    """Return all that the previous night holds.

    Raises:
        DocumentError: It cannot be read.
    """
    contents = contents_of(LocalTarget(inputs.stage), read_documents(subject.digest))
    if not _is_of_this_flow(contents, inputs):
        return Earlier(subject).left_out(NOT_THIS_FLOWS)
    before, night = contents.earlier, _night_of(contents)
    return Earlier(
        subject,
        [*before.entries, *with_flow_run(contents.entries, night.flow_run_id)],
        (*before.nights, night),
        joined(before.attachments, moved(contents.attachments, night.flow_run_id)),
        contents.documents,
    )


def _is_of_this_flow(contents: SealedContents, inputs: SealInputs) -> bool:
    """Tell whether payload of a night may go where the record of a flow run says.

    Whoever writes to a shared stage may have named the series of another flow there.
    """
    own = inputs.stage.is_own()
    return own or bool(inputs.flow and contents.annotations.get(FLOW_NAME) == inputs.flow)


def _night_of(contents: SealedContents) -> EarlierNight:
    """Return what is told of the night itself, besides those before it that it holds."""
    told, documents = contents.ledger, contents.documents
    if told is None or documents is None:
        raise DocumentError("it has no ledger")
    return EarlierNight(
        flow_run_id=str(FlowRunId(contents.annotations.get(FLOW_RUN_ID, ""))),
        manifest_digest=documents.digest,
        first_run=len(contents.earlier.entries),
        runs=len(contents.entries),
        flow_run=told.flow_run,
        task_runs=told.task_runs,
        subflows=told.subflows,
        warnings=told.warnings,
    )
