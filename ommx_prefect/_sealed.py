"""What a seal leaves: the answer of `seal`, and the way back to the experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ommx.experiment import Experiment, list_experiment_checkpoints, list_experiments

from ommx_prefect._decode import decode
from ommx_prefect._flow_start import SEALED_RECORD, read_flow_record
from ommx_prefect._image_name import with_suffix
from ommx_prefect._records import ExperimentRecord
from ommx_prefect._registry import checkpoint_name, find, read_documents
from ommx_prefect._stage import LocalStage
from ommx_prefect.exceptions import NotSealedError, UnreadableError

FLOW_RUN_ANNOTATION = "org.ommx-prefect.flow-run-id"


@dataclass(frozen=True)
class SealedExperiment:
    """A flow run's experiment in the Local Registry.

    Attributes:
        flow_run_id: Prefect's id of the flow run (of the task run outside flows).
        image_name: The OCI image name; of an experiment that is not finished, the name that was
            asked for, which `Experiment.restore_from_checkpoint` takes.
        manifest_digest: `sha256:<hex>` of the manifest: the immutable identity.
        status: `finished`, `failed` or `interrupted`.
        counts: Number of Runs by status.
        warnings: Sentences about what is not as it should be.
        stored_name: The name in the Local Registry: the image name, or that of the checkpoint.
        pushed: Whether it is in the registry of its name; None where nobody asked for that, or it
            is not finished (a checkpoint has no name to push under).
        push_problem: Why it is not, for people.
    """

    flow_run_id: str
    image_name: str
    manifest_digest: str
    status: str
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    stored_name: str = field(default="", repr=False)
    pushed: bool | None = None
    push_problem: str = ""

    @property
    def opens_with(self) -> str:
        """The line of plain `ommx` that opens it."""
        method = "load" if self.status == "finished" else "restore_from_checkpoint"
        return f'Experiment.{method}("{self.image_name}")'


def write_sealed(stage: LocalStage, sealed: SealedExperiment, keys: list[str]) -> None:
    """Keep the answer, with the names of the shards it covers."""
    stage.write(SEALED_RECORD, {**asdict(sealed), "keys": keys})


def update_sealed(stage: LocalStage, sealed: SealedExperiment) -> None:
    """Keep an answer of which only the push has changed."""
    stage.write(SEALED_RECORD, {**(stage.read(SEALED_RECORD) or {"keys": []}), **asdict(sealed)})


def read_sealed(stage: LocalStage) -> tuple[SealedExperiment, frozenset[str]] | None:
    """Return the last answer while its experiment still stands, and the shards it covers."""
    found = read_answer(stage)
    stands = found is not None and find(found[0].stored_name) == found[0].manifest_digest
    return found if stands else None


def read_answer(stage: LocalStage) -> tuple[SealedExperiment, frozenset[str]] | None:
    """Return the last answer, whatever became of its experiment."""
    document = stage.read(SEALED_RECORD)
    if document is None:
        return _told_by_registry(stage)
    keys = frozenset(document.pop("keys"))
    return SealedExperiment(**{**document, "warnings": tuple(document["warnings"])}), keys


def _told_by_registry(stage: LocalStage) -> tuple[SealedExperiment, frozenset[str]] | None:
    """Make the answer anew from the experiment, for `sealed.json` may have been moved away.

    It tells no names of shards; those that are there join what is sealed by their names.
    """
    record = read_flow_record(stage)
    if record is None or not record.image_name:
        return None
    own_name = with_suffix(record.image_name, record.flow_run_id.replace("-", "")[-8:])
    for name in (record.image_name, own_name):
        for stored in (name, checkpoint_name(name)):
            digest = find(stored)
            experiment = decode(read_documents(digest)) if digest else None
            if digest and experiment and _is_of(experiment, stage.owner):
                counts = Counter(run.status for run in experiment.runs)
                answer = SealedExperiment(
                    stage.owner, name, digest, experiment.status, counts, stored_name=stored
                )
                return answer, frozenset()
    return None


def _is_of(experiment: ExperimentRecord, flow_run_id: str) -> bool:
    return experiment.annotations.get(FLOW_RUN_ANNOTATION) == flow_run_id


def load_experiment(flow_run_id: object) -> Experiment:
    """Open the experiment that a flow run sealed, whatever its status.

    Args:
        flow_run_id: Prefect's id of the flow run, as a UUID or text.

    Raises:
        NotSealedError: No sealed experiment of this flow run is in the Local Registry.
        UnreadableError: It is there, but damaged.
    """
    try:
        found = read_sealed(LocalStage(str(flow_run_id)))
        name = found[0].stored_name if found else _find_annotated(str(flow_run_id))
        if name is not None:
            return Experiment.load(name)
    except (RuntimeError, ValueError, OSError) as error:
        raise UnreadableError(str(flow_run_id), " ".join(str(error).split())) from error
    raise NotSealedError(str(flow_run_id))


def _find_annotated(flow_run_id: str) -> str | None:
    for finished in list_experiments():
        if finished.annotations.get(FLOW_RUN_ANNOTATION) == flow_run_id:
            return finished.image_name
    for checkpoint in list_experiment_checkpoints():
        if checkpoint.annotations.get(FLOW_RUN_ANNOTATION) == flow_run_id:
            return checkpoint.checkpoint_image_name
    return None
