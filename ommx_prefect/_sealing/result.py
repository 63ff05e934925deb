"""What a seal leaves: the answer of `seal`, and the way back to the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ommx.experiment import Experiment

from ommx_prefect._registry.names import load_annotated
from ommx_prefect._stages.documents import SEALED_RECORD
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage, well_formed
from ommx_prefect._targets.choose import target_of
from ommx_prefect._targets.protocol import Target
from ommx_prefect.exceptions import NotSealedError, StageError, UnreadableError

FLOW_RUN_ANNOTATION = "org.ommx-prefect.flow-run-id"


@dataclass(frozen=True)
class SealedExperiment:
    """A flow run's experiment, in the Local Registry or composed in that of its name.

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
        composed_in: The stage in whose registry it was composed, so that it is there and not in
            the Local Registry; empty otherwise.
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
    composed_in: str = ""

    @property
    def opens_with(self) -> str:
        """The line of plain `ommx` that opens it."""
        method = "load" if self.status == "finished" else "restore_from_checkpoint"
        return f'Experiment.{method}("{self.image_name}")'


def write_sealed(stage: Stage, sealed: SealedExperiment, keys: list[str]) -> None:
    """Keep the answer, with the names of the shards it covers."""
    stage.write(SEALED_RECORD, {**asdict(sealed), "keys": keys})


def update_sealed(stage: Stage, sealed: SealedExperiment) -> None:
    """Keep an answer of which only the push has changed."""
    stage.write(SEALED_RECORD, {**(stage.read(SEALED_RECORD) or {"keys": []}), **asdict(sealed)})


def read_sealed(stage: Stage) -> tuple[SealedExperiment, frozenset[str]] | None:
    """Return the last answer while its experiment still stands, and the shards it covers."""
    found = read_answer(stage)
    stands = found and target_of_sealed(found[0]).find(found[0].stored_name)
    return found if found and stands == found[0].manifest_digest else None


def target_of_sealed(sealed: SealedExperiment) -> Target:
    """Return where a sealed experiment stands."""
    stage = LocalStage(sealed.flow_run_id)
    return target_of(stage, sealed.image_name, sealed.composed_in)


def read_answer(stage: Stage) -> tuple[SealedExperiment, frozenset[str]] | None:
    """Return the last answer, whatever became of its experiment."""
    document = stage.read(SEALED_RECORD)
    if document is None:
        return None
    with well_formed(stage, SEALED_RECORD):
        keys = frozenset(document.pop("keys"))
        return SealedExperiment(**{**document, "warnings": tuple(document["warnings"])}), keys


def load_experiment(flow_run_id: object) -> Experiment:
    """Open the experiment that a flow run sealed, whatever its status.

    One that was composed in an OCI registry is pulled into the Local Registry first.

    Args:
        flow_run_id: Prefect's id of the flow run, as a UUID or text.

    Raises:
        NotSealedError: No sealed experiment of this flow run is known here.
        UnreadableError: It is there, but damaged.
        StageError: It was composed in a registry that does not answer.
    """
    try:
        if experiment := _open_sealed(str(flow_run_id)):
            return experiment
        if experiment := load_annotated(FLOW_RUN_ANNOTATION, str(flow_run_id)):
            return experiment
    except StageError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        raise UnreadableError(str(flow_run_id), " ".join(str(error).split())) from error
    raise NotSealedError(str(flow_run_id))


def _open_sealed(flow_run_id: str) -> Experiment | None:
    found = read_answer(LocalStage(flow_run_id))
    if found is None:
        return None
    sealed, _ = found
    return target_of_sealed(sealed).open(sealed.manifest_digest, sealed.stored_name)
