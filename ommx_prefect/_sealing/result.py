"""The result of a seal, and how a sealed experiment is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field

from ommx.experiment import Experiment

from ommx_prefect._flowrun.ids import parse_flow_run_id
from ommx_prefect._oci.image_name import with_suffix, with_tag
from ommx_prefect._oci.names import is_registry
from ommx_prefect._registry.names import load_annotated, opening_line
from ommx_prefect._registry.parts import places_in
from ommx_prefect._registry.whole import load_image, whole
from ommx_prefect._shards.schema import CLOSED, ContentDigest, Key, PrefectId, parsed
from ommx_prefect._stages.documents import SEALED_RECORD, read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage, well_formed
from ommx_prefect._targets.annotations import FLOW_RUN_ID
from ommx_prefect._targets.choose import target_of
from ommx_prefect._targets.protocol import Target
from ommx_prefect.exceptions import DocumentError, NotSealedError, StageError, UnreadableError


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
        pushed: Whether it is in the registry of its name, under `remote_name`; None where nobody
            asked for that.
        push_problem: Why it is not, for people.
        composed_in: The stage in whose registry it was composed, so that it is there and not in
            the Local Registry; empty otherwise.
        parts: The number of experiments that hold its Runs, where one manifest would be larger than
            registries take; 0 where it holds them itself.
    """

    __pydantic_config__ = CLOSED

    flow_run_id: PrefectId
    image_name: str
    manifest_digest: ContentDigest
    status: str
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    stored_name: str = field(default="", repr=False)
    pushed: bool | None = None
    push_problem: str = ""
    composed_in: str = ""
    parts: int = 0

    @property
    def remote_name(self) -> str:
        """The name under which it is pushed.

        One that is not finished has its status at the tag (`...-failed`): the name itself is kept
        for a finished one.
        """
        if self.status == "finished":
            return self.image_name
        return with_suffix(self.image_name, self.status)

    @property
    def opens_with(self) -> str:
        """The line of plain `ommx` that opens it; of one in parts, the line of this package."""
        is_checkpoint = self.status != "finished"
        return opening_line(self.image_name, is_checkpoint=is_checkpoint, in_parts=bool(self.parts))


@dataclass(frozen=True)
class _Held:
    """A field of `sealed.json` beside the result: the keys of the shards that it holds."""

    __pydantic_config__ = CLOSED

    keys: tuple[Key, ...]


@dataclass(frozen=True)
class PreviousSeal:
    """The last seal of a flow run, as `sealed.json` of its stage has it.

    Attributes:
        sealed: The experiment.
        keys: The names of the shards that it holds.
    """

    sealed: SealedExperiment
    keys: frozenset[str]

    @property
    def target(self) -> Target:
        """Where the experiment was published."""
        return target_of_sealed(self.sealed)

    def is_published(self) -> bool:
        """Tell whether the name of the experiment still points to it."""
        return self.target.find(self.sealed.stored_name) == self.sealed.manifest_digest


def target_of_sealed(sealed: SealedExperiment) -> Target:
    """Return where a sealed experiment was published."""
    stage = LocalStage(sealed.flow_run_id)
    return target_of(stage, sealed.image_name, sealed.composed_in)


def write_sealed(stage: Stage, sealed: SealedExperiment, keys: Collection[str]) -> PreviousSeal:
    """Write down what was sealed, with the names of the shards that it holds."""
    stage.write(SEALED_RECORD, {**asdict(sealed), "keys": sorted(keys)})
    return PreviousSeal(sealed, frozenset(keys))


def read_previous(stage: Stage) -> PreviousSeal | None:
    """Read what the last seal has written down, whatever became of its experiment."""
    document = stage.read(SEALED_RECORD)
    if document is None:
        return None
    with well_formed(stage, SEALED_RECORD):
        held = parsed(_Held, {"keys": document.pop("keys")})
        sealed = parsed(SealedExperiment, document)
        if sealed.flow_run_id != stage.flow_run_id:
            raise DocumentError(f"it belongs to flow run {sealed.flow_run_id}")
        return PreviousSeal(sealed, frozenset(held.keys))


def read_sealed(stage: Stage) -> PreviousSeal | None:
    """Read what the last seal has written down, while its name points to its experiment."""
    previous = read_previous(stage)
    return previous if previous is not None and previous.is_published() else None


def load_experiment(flow_run_id: object) -> Experiment:
    """Open the experiment that a flow run sealed, whatever its status.

    One that was composed in an OCI registry is pulled into the Local Registry first. One that was
    sealed in parts, because it is larger than registries take, is opened as one.

    Args:
        flow_run_id: Prefect's id of the flow run, as for `seal`, or an image name with its
            registry.

    Raises:
        InvalidFlowRunIdError: It is neither.
        NotSealedError: No sealed experiment of this flow run is known here.
        UnknownImageError: Nothing can be opened under this image name.
        UnreadableError: It is there, but damaged.
        StageError: It was composed in a registry that does not answer.
    """
    if isinstance(flow_run_id, str) and _names_a_registry(flow_run_id):
        return load_image(flow_run_id)
    wanted = parse_flow_run_id(flow_run_id)
    try:
        root_flow_run_id = root_of_flow_run(wanted)
        experiment = _open_sealed(root_flow_run_id)
        experiment = experiment or load_annotated(FLOW_RUN_ID, root_flow_run_id)
        experiment = whole(experiment) if experiment else None
    except StageError:
        raise
    except (RuntimeError, ValueError, OSError) as error:
        raise UnreadableError(wanted, " ".join(str(error).split())) from error
    if experiment is None:
        raise NotSealedError(wanted)
    return experiment


def _names_a_registry(text: str) -> bool:
    registry, slash, _ = text.partition("/")
    return bool(slash) and is_registry(registry)


def root_of_flow_run(flow_run_id: str) -> str:
    """Return the id of the flow run whose experiment a flow run belongs to, as far as is known."""
    record = read_flow_record(LocalStage(flow_run_id))
    return flow_run_id if record is None else record.root_flow_run_id


def _open_sealed(flow_run_id: str) -> Experiment | None:
    previous = read_previous(LocalStage(flow_run_id))
    if previous is None:
        return None
    sealed, target = previous.sealed, previous.target
    opened = target.open(sealed.manifest_digest, sealed.stored_name)
    if opened is not None and target.target_stage:
        for place in places_in(sealed.manifest_digest):
            target.open(place.digest, with_tag(sealed.image_name, place.tag))
    return opened
