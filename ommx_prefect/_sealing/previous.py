"""Find the previous seal of a flow run, and read its experiment back to extend it.

`sealed.json` lies on the host that sealed, and somebody may have moved it away. Where an experiment
was composed in a registry, that tells the same to any other host which finds the records: because
the host died before it removed them, or because the registry removes nothing. Without it they
would be sealed a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ommx_prefect._format.compose import rejoin
from ommx_prefect._format.decode import decode
from ommx_prefect._format.earlier import EARLIER_RUNS, EARLIER_SOLVES
from ommx_prefect._format.model import Attachments, Documents, ExperimentRecord
from ommx_prefect._oci.image_name import with_tag
from ommx_prefect._registry.names import checkpoint_name
from ommx_prefect._sealing import ledger
from ommx_prefect._sealing.earlier import Earlier, split
from ommx_prefect._sealing.entries import count_by_status
from ommx_prefect._sealing.ledger import Entry, Ledger
from ommx_prefect._sealing.result import PreviousSeal, SealedExperiment, write_sealed
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.annotations import DEGRADED, FLOW_RUN_ID, WARNINGS
from ommx_prefect._targets.choose import targets_for
from ommx_prefect._targets.local import LocalTarget
from ommx_prefect._targets.protocol import Target
from ommx_prefect._targets.whole import read_places, whole_of
from ommx_prefect.exceptions import DocumentError

# Annotations that tell of one seal, and not of the experiment that it extends.
OF_ONE_SEAL = (WARNINGS, DEGRADED, EARLIER_RUNS, EARLIER_SOLVES)


@dataclass(frozen=True)
class SealedContents:
    """The contents of the previous seal's experiment; empty where there was none.

    Attributes:
        documents: Its exact bytes.
        parts: Those of its parts, where it was sealed in some.
        status: Its status.
        entries: Its own Runs.
        attachments: What its own flow body logged on it.
        annotations: Its annotations.
        ledger: Its ledger.
        earlier: What it holds of the nights before.
    """

    documents: Documents | None = None
    parts: Sequence[Documents] = ()
    status: str = ""
    entries: Sequence[Entry] = ()
    attachments: Attachments = field(default_factory=Attachments)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ledger: Ledger | None = None
    earlier: Earlier = field(default_factory=Earlier)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings in its ledger."""
        return self.ledger.warnings if self.ledger else ()

    @property
    def all_documents(self) -> tuple[Documents, ...]:
        """The documents that name its payload."""
        return (self.documents, *self.parts) if self.documents else ()


def find_previous(
    stage: Stage, record: FlowRecord, last: PreviousSeal | None
) -> PreviousSeal | None:
    """Return the last seal of a flow run: what is written down, or what is published.

    Args:
        stage: The stage of the flow run.
        record: What is known of it.
        last: What the stage has written down of its last seal.
    """
    if last is not None and last.is_published():
        return last
    return _restore(stage, record) or last


def is_held(previous: PreviousSeal) -> bool:
    """Tell whether an experiment is still stored; a name of it that was removed is put back.

    Its name may point to another experiment since.
    """
    target, sealed = previous.target, previous.sealed
    if not target.holds(sealed.manifest_digest) or not _are_parts_held(target, sealed):
        return False
    if target.find(sealed.stored_name) is None:
        target.publish(sealed.manifest_digest, {sealed.stored_name: None})
    return True


def _are_parts_held(target: Target, sealed: SealedExperiment) -> bool:
    """Tell whether the parts of an experiment are stored; names that were removed are put back."""
    if not sealed.parts:
        return True
    places = read_places(target, decode(target.read(sealed.manifest_digest)))
    if not all(target.holds(place.digest) for place in places):
        return False
    for place in places:
        name = with_tag(sealed.image_name, place.tag)
        if target.find(name) is None:
            target.publish(place.digest, {name: None})
    return True


def read_contents(previous: PreviousSeal) -> SealedContents:
    """Read the experiment of an earlier seal."""
    target = previous.target
    return contents_of(target, target.read(previous.sealed.manifest_digest))


def contents_of(target: Target, documents: Documents) -> SealedContents:
    """Take an experiment apart, with its ledger.

    Raises:
        DocumentError: It has none, or one that is not its own.
    """
    experiment, parts = whole_of(target, decode(documents))
    told = _ledger_of(target, experiment)
    runs = [rejoin(run, told.split_columns) for run in experiment.runs]
    entries = [Entry.from_json(x, run) for x, run in zip(told.runs, runs, strict=True)]
    first = told.first_own_run
    logged, theirs = split(_logged_attachments(experiment), told.nights)
    return SealedContents(
        documents=documents,
        parts=parts,
        status=experiment.status,
        entries=entries[first:],
        attachments=logged,
        annotations={k: v for k, v in experiment.annotations.items() if k not in OF_ONE_SEAL},
        ledger=told,
        earlier=Earlier(None, entries[:first], told.nights, theirs),
    )


def _ledger_of(target: Target, experiment: ExperimentRecord) -> Ledger:
    layer = experiment.attachments.entries.get(ledger.NAME)
    if layer is None:
        raise DocumentError("it has no ledger")
    told = ledger.read_ledger(target.read_blob(layer))
    run_ids = [entry.get("run_id") for entry in told.runs]
    if run_ids != list(range(len(experiment.runs))) or told.first_own_run > len(run_ids):
        raise DocumentError("its ledger tells of other Runs")
    return told


def _logged_attachments(experiment: ExperimentRecord) -> Attachments:
    found = experiment.attachments
    entries = {name: layer for name, layer in found.entries.items() if name != ledger.NAME}
    return Attachments(entries, found.filenames)


def _restore(stage: Stage, record: FlowRecord) -> PreviousSeal | None:
    """Write `sealed.json` anew from what is published under the name of a flow run, if it is its.

    The shard of an attempt that was interrupted may have come since, and counts as unsealed.
    """
    for place in _places(stage, record):
        digest = place.target.find(place.stored_name)
        if digest and (documents := _own_documents(place.target, digest, record)):
            contents = contents_of(place.target, documents)
            sealed = _answer_of(stage, place, digest, contents)
            ended = (x for x in contents.entries if x.record.status != "interrupted")
            return write_sealed(stage, sealed, {entry.key for entry in ended})
    return None


@dataclass(frozen=True)
class _Place:
    """Where an experiment could be published: a target, its image name, and the name it has there.

    The names differ where it did not finish: it is kept under another name than was asked for.
    """

    target: Target
    image_name: str
    stored_name: str


def _places(stage: Stage, record: FlowRecord) -> Iterator[_Place]:
    """Yield the places where the experiment of a flow run could be published."""
    for name in (record.image_name, record.other_name):
        for target in targets_for(stage, name, "finished"):
            yield _Place(target, name, name)
        yield _Place(LocalTarget(stage), name, checkpoint_name(name))


def _own_documents(target: Target, digest: str, record: FlowRecord) -> Documents | None:
    """Return the documents of an experiment if it is that of this flow run."""
    try:
        documents = target.read(digest)
        found = decode(documents).annotations
    except DocumentError:  # an image of something else
        return None
    return documents if found.get(FLOW_RUN_ID) == record.flow_run_id else None


def _answer_of(
    stage: Stage, place: _Place, digest: str, contents: SealedContents
) -> SealedExperiment:
    target_stage = place.target.target_stage
    return SealedExperiment(
        flow_run_id=stage.flow_run_id,
        image_name=place.image_name,
        manifest_digest=digest,
        status=contents.status,
        counts=count_by_status(contents.entries),
        warnings=contents.warnings,
        stored_name=place.stored_name,
        pushed=True if target_stage else None,
        composed_in=target_stage,
        parts=len(contents.parts),
    )
