"""Find the previous night of a new experiment, and what is taken over: `flow(lineage=...)`.

`previous` names the last night as the OCI subject. `accumulate` also takes over all that the image
of that night holds: its own Runs, and those of the nights before it. Payload is taken over by its
digest. A seal that extends an experiment keeps what that has of earlier nights, and takes nothing
over a second time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ommx.experiment import ExperimentRef

from ommx_prefect._format.decode import decode, descriptor_of, layers_in, manifest_of
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor, Digest
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect._sealing.composed import Composed, composed_before
from ommx_prefect._sealing.earlier import LEFT_OUT, Earlier, joined, moved, with_flow_run
from ommx_prefect._sealing.ledger import EarlierNight
from ommx_prefect._sealing.lineage import ACCUMULATE, Series, previous_nights, time_of
from ommx_prefect._sealing.load import SealInputs
from ommx_prefect._sealing.previous import SealedContents, contents_of
from ommx_prefect._shards.names import FlowRunId
from ommx_prefect._targets.annotations import FLOW_NAME, FLOW_RUN_ID
from ommx_prefect._targets.local import LocalTarget
from ommx_prefect._targets.protocol import Target
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError, OmmxPrefectError

# The warning of an experiment that was to follow a night, and does not.
FOLLOWS_NONE = "degraded: this experiment follows no night before it"
NOT_THIS_FLOWS = (
    "this host did not start the flow run, and Prefect does not say that both are of one flow"
)


@dataclass(frozen=True)
class NightBefore:
    """The previous night of the experiment that is sealed, and where it is stored.

    Attributes:
        subject: The descriptor of its manifest.
        target: Where it is.
    """

    subject: Descriptor
    target: Target


def earlier_of(inputs: SealInputs) -> Earlier:
    """Return what an experiment takes over of earlier nights; a repeated seal keeps its choice."""
    before = inputs.contents
    if before.documents is not None:
        said = (x for x in before.warnings if x.startswith((LEFT_OUT, FOLLOWS_NONE)))
        subject = decode(before.documents).subject
        return replace(before.earlier, subject=subject, note=next(said, ""))
    if not inputs.record.lineage:
        return Earlier()
    try:
        return _of_night_before(inputs)
    except (OmmxPrefectError, OSError, RuntimeError) as error:
        return Earlier(note=f"{FOLLOWS_NONE}: {describe_error(error)}")


def _of_night_before(inputs: SealInputs) -> Earlier:
    found = _night_before(inputs)
    if found is None:
        return Earlier()
    if inputs.record.lineage != ACCUMULATE:
        return Earlier(found.subject)
    try:
        return _taken_over(found, inputs)
    except DocumentError as error:
        return Earlier(found.subject).left_out(describe_error(error))


def _night_before(inputs: SealInputs) -> NightBefore | None:
    """Return the previous night, from the Local Registry or the registry of its name.

    Raises:
        DocumentError: It is here, and not whole.
    """
    series = Series.of_record(inputs.record)
    composed = composed_before(series, inputs.stage)
    there = next((x for x in composed if _can_be_followed(x, series)), None)
    here = next(iter(previous_nights(series)), None)
    if there and not (here and _is_later(here, there)):
        return NightBefore(there.subject, there.target)
    if here is None:
        return None
    _require_whole(here.manifest_digest)
    digest = Digest(here.manifest_digest)
    subject = Descriptor(MANIFEST_MEDIA_TYPE, digest, len(read_blob(digest)))
    return NightBefore(subject, LocalTarget(inputs.stage))


def _can_be_followed(night: Composed, series: Series) -> bool:
    """Tell whether a night is finished, and in the repository that an OCI subject needs."""
    return night.series.repository == series.repository and night.is_finished()


def _is_later(here: ExperimentRef, there: Composed) -> bool:
    mine = time_of(Series.of_annotations(here.annotations, here.image_name))
    others = time_of(there.series)
    return mine is not None and others is not None and mine > others


def _require_whole(digest: str) -> None:
    """Raise DocumentError unless all blobs of an image, and of its OCI subjects here, exist.

    What it follows in a registry alone need not be here.
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
        if followed and not blob_path(followed).exists():
            return


def _require(layer: Descriptor) -> None:
    """Raise DocumentError unless the Local Registry has a blob; it is not read."""
    try:
        size = blob_path(layer.digest).stat().st_size
    except OSError as error:
        raise DocumentError(f"blob {layer.digest} cannot be read: {error.strerror}") from error
    if size != layer.size:
        raise DocumentError(f"blob {layer.digest} has {size} bytes instead of {layer.size}")


def _taken_over(found: NightBefore, inputs: SealInputs) -> Earlier:
    """Return the contents of the previous night; payload in a registry is not fetched.

    Raises:
        DocumentError: It cannot be read.
    """
    subject, is_here = found.subject, not found.target.target_stage
    contents = contents_of(found.target, found.target.read(subject.digest))
    if not _is_of_this_flow(contents, inputs):
        return Earlier(subject).left_out(NOT_THIS_FLOWS)
    before, night = contents.earlier, _night_of(contents)
    return Earlier(
        subject,
        [*before.entries, *with_flow_run(contents.entries, night.flow_run_id)],
        (*before.nights, night),
        joined(before.attachments, moved(contents.attachments, night.flow_run_id)),
        contents.documents if is_here else None,
    )


def _is_of_this_flow(contents: SealedContents, inputs: SealInputs) -> bool:
    """Tell whether a night is of the flow run's own flow, where another host wrote its record.

    Whoever writes to a shared stage may have named the series of another flow there.
    """
    own = inputs.stage.is_own()
    return own or bool(inputs.flow and contents.annotations.get(FLOW_NAME) == inputs.flow)


def _night_of(contents: SealedContents) -> EarlierNight:
    """Return the ledger's entry about a night, without the earlier nights that it holds."""
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
