"""What can go wrong, and what to do about it.

    OmmxPrefectError
    ├── NoOpenRunError          current_run() outside a recorded task
    │   └── NoCheckpointError   checkpoint() outside a recorded task
    │       └── ForkedProcessError   either, in a process that was forked from the task's
    ├── NoExperimentError       current_experiment() outside a recorded flow
    ├── DuplicateAttachmentError   a name given twice on current_experiment()
    ├── ImageNameError          the experiment's image name cannot be used
    │   ├── InvalidImageNameError
    │   └── ImageNameTakenError
    ├── StageError              the place where shards should wait cannot be used
    ├── RecordingError          an attempt could not be recorded (on_error="raise")
    ├── SealError               a flow run could not be sealed; its shards are kept
    │   └── FlowRunNotFinishedError
    ├── DocumentError           bytes that are not what they claim to be
    │   └── UnknownFormatError  a key, type or version this release does not know
    ├── NotSealedError          no sealed experiment is known for a flow run
    ├── UnknownImageError       nothing can be opened under an image name
    ├── InvalidFlowRunIdError   a text that is no id of a flow run
    ├── UnreadableError         the Local Registry, or an experiment in it, is damaged
    ├── RegistryError           an OCI registry did not do what was asked of it
    │   ├── RegistryAuthError       it does not let us in, or not so far
    │   ├── RegistryUnavailableError   it cannot be reached, or is overloaded
    │   ├── LocalNameError          the name is of this machine alone
    │   └── NotInRegistryError      it does not have this
    ├── ManifestTooLargeError   an experiment has more layers than a registry takes
    ├── InstanceFileError       a file, archive or data set name holds no instance to believe
    ├── SolverOptionError       an option that the backend does not know or does not take
    ├── UnknownAdapterError     a short name or class that is no adapter, or is not installed
    └── SolveOutcomeError       a solve without an answer; `outcome` says which
        ├── InfeasibleError         infeasible
        ├── UnboundedError          unbounded
        ├── NoSolutionError         no_solution
        ├── NotApplicableError      not_applicable
        └── SolverError             error

All of them survive pickling: their fields go to `Exception.__init__` as they are.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DocumentError",
    "DuplicateAttachmentError",
    "FlowRunNotFinishedError",
    "ForkedProcessError",
    "ImageNameError",
    "ImageNameTakenError",
    "InfeasibleError",
    "InstanceFileError",
    "InvalidFlowRunIdError",
    "InvalidImageNameError",
    "LocalNameError",
    "ManifestTooLargeError",
    "NoCheckpointError",
    "NoExperimentError",
    "NoOpenRunError",
    "NoSolutionError",
    "NotApplicableError",
    "NotInRegistryError",
    "NotSealedError",
    "OmmxPrefectError",
    "RecordingError",
    "RegistryAuthError",
    "RegistryError",
    "RegistryUnavailableError",
    "SealError",
    "SolveOutcomeError",
    "SolverError",
    "SolverOptionError",
    "StageError",
    "UnboundedError",
    "UnknownAdapterError",
    "UnknownFormatError",
    "UnknownImageError",
    "UnreadableError",
]


class OmmxPrefectError(Exception):
    """Base of everything this package raises on purpose."""


class NoOpenRunError(OmmxPrefectError, RuntimeError):
    """No OMMX Run is open here."""

    def __str__(self) -> str:
        return (
            "current_run() found no open Run. Call it inside the body of a function decorated "
            "with ommx_prefect.task or ommx_prefect.recorded, while Prefect runs it, and in the "
            "task's own thread (hand the Run over to threads that you start). In the flow body "
            "use current_experiment()."
        )


class NoCheckpointError(NoOpenRunError):
    """No attempt is being recorded here that a checkpoint could belong to."""

    def __str__(self) -> str:
        return (
            "checkpoint() found no recorded task that runs here. Call it inside the body of a "
            "function decorated with ommx_prefect.task or ommx_prefect.recorded, or in a solver's "
            "callback while that function runs. In the flow body use current_experiment()."
        )


class ForkedProcessError(NoCheckpointError):
    """This process was forked from that of a recorded task: what it records would be lost."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task

    def __str__(self) -> str:
        return (
            f"this process was forked from the one in which task {self.task!r} runs, and what it "
            "logs or checkpoints would be lost with it. Return the values to the task, and log "
            "them there, or make the work a task of its own."
        )


class NoExperimentError(OmmxPrefectError, RuntimeError):
    """No experiment is being recorded here."""

    def __str__(self) -> str:
        return (
            "current_experiment() found no recorded flow run. Call it in the body of a function "
            "decorated with ommx_prefect.flow, or under @prefect.flow(**seal_hooks(...)). In a "
            "task use current_run()."
        )


class DuplicateAttachmentError(OmmxPrefectError, ValueError):
    """The experiment has an attachment of this name already; field: name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"The experiment has an attachment {self.name!r} already; choose another name."


class ImageNameError(OmmxPrefectError, ValueError):
    """The image name of an experiment cannot be used."""


class InvalidImageNameError(ImageNameError):
    """An image name, its template or what belongs to it is not valid; fields: name, reason, option.

    The option is that of `flow` which is wrong: `experiment`, `aliases`, `push` or `registry`.
    """

    def __init__(self, name: str, reason: str, option: str = "experiment") -> None:
        super().__init__(name, reason, option)
        self.name, self.reason, self.option = name, reason, option

    def __str__(self) -> str:
        if self.option != "experiment":
            return f"{self.option}={self.name} cannot be used: {self.reason}"
        return (
            f"experiment={self.name!r} is not an OCI image name: {self.reason}. Write "
            "registry/repository (a tag is made for each flow run) or registry/repository:tag, "
            "for example ghcr.io/acme/nightly or ghcr.io/acme/nightly:{flow_run.name}."
        )


class ImageNameTakenError(ImageNameError):
    """An image name already stands in the Local Registry, or its own; fields: name, place."""

    def __init__(self, name: str, place: str = "the Local Registry") -> None:
        super().__init__(name, place)
        self.name, self.place = name, place

    def __str__(self) -> str:
        is_local = self.place == "the Local Registry"
        how = f": ommx.artifact.remove_image({self.name!r})" if is_local else " there"
        return (
            f"{self.name} already stands in {self.place}, and a sealed experiment is not "
            "overwritten. Leave out the tag so that every flow run gets its own, put "
            "{flow_run.name} or {scheduled_time:%Y%m%dT%H%M%S} into it, pass replace=True to "
            f"move the name, or remove it{how}"
        )


class StageError(OmmxPrefectError, RuntimeError):
    """The stage of a flow run cannot be used; fields: stage, reason."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(stage, reason)
        self.stage, self.reason = stage, reason

    def __str__(self) -> str:
        return f"stage={self.stage!r} cannot be used: {self.reason}"


class RecordingError(OmmxPrefectError, RuntimeError):
    """An attempt could not be recorded, and on_error="raise"; fields: task, reason."""

    def __init__(self, task: str, reason: str) -> None:
        super().__init__(task, reason)
        self.task, self.reason = task, reason

    def __str__(self) -> str:
        return (
            f"The attempt of task {self.task!r} ran, but could not be recorded: {self.reason}. "
            'Mend the cause, or let the task succeed without its record by on_error="warn".'
        )


class SealError(OmmxPrefectError, RuntimeError):
    """A flow run could not be sealed; fields: flow_run_id, reason."""

    def __init__(self, flow_run_id: str, reason: str) -> None:
        super().__init__(flow_run_id, reason)
        self.flow_run_id, self.reason = flow_run_id, reason

    def __str__(self) -> str:
        return (
            f"Flow run {self.flow_run_id} is not sealed: {self.reason}. Its records are kept; "
            f"when the cause is mended, finish with: ommx_prefect.seal({self.flow_run_id!r})"
        )


class FlowRunNotFinishedError(SealError):
    """The flow run has not ended yet, as far as Prefect knows."""

    def __str__(self) -> str:
        return (
            f"Nothing more is sealed of flow run {self.flow_run_id} now: {self.reason}. "
            "Its records are kept. If its process has died, `ommx-prefect recover` seals it, "
            "or has done so"
        )


class DocumentError(OmmxPrefectError, ValueError):
    """Bytes of an Experiment are not what their descriptor or format says; field: reason."""

    # Letters that it shows of what is wrong, which may quote all of the document.
    longest: ClassVar[int] = 3000

    def __init__(self, reason: str) -> None:
        if len(reason) > self.longest:
            reason = f"{reason[: self.longest]}…"
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class UnknownFormatError(DocumentError):
    """A media type, key or column type that this release does not know: refused, never dropped."""

    longest = 1000  # it quotes one thing


class NotSealedError(OmmxPrefectError, LookupError):
    """No sealed experiment is known for a flow run; field: flow_run_id."""

    def __init__(self, flow_run_id: str) -> None:
        super().__init__(flow_run_id)
        self.flow_run_id = flow_run_id

    def __str__(self) -> str:
        return (
            f"No sealed experiment of flow run {self.flow_run_id} is in this Local Registry. If "
            f"it was recorded here, seal it with ommx_prefect.seal({self.flow_run_id!r}); if that "
            "does not know it either, it was refused before it began (its log says why), or "
            "OMMX_LOCAL_REGISTRY_ROOT is another one."
        )


class InvalidFlowRunIdError(OmmxPrefectError, ValueError):
    """A text is no id of a flow run; field: given."""

    def __init__(self, given: str) -> None:
        super().__init__(given)
        self.given = given

    def __str__(self) -> str:
        return (
            f"{self.given[:100]!r} is no id of a flow run, such as "
            "01973c7e-5b2a-7c3d-9e4f-0123456789ab; Prefect's UI shows it on the flow run's page, "
            "and `prefect flow-run ls` lists them."
        )


class UnreadableError(OmmxPrefectError, RuntimeError):
    """A sealed experiment cannot be opened; fields: flow_run_id, reason."""

    def __init__(self, flow_run_id: str, reason: str) -> None:
        super().__init__(flow_run_id, reason)
        self.flow_run_id, self.reason = flow_run_id, reason

    def __str__(self) -> str:
        return (
            f"The experiment of flow run {self.flow_run_id} cannot be opened: {self.reason}. The "
            "Local Registry is damaged: restore it from a backup, or load the image from the "
            "container registry it was pushed to."
        )


class UnknownImageError(OmmxPrefectError, LookupError):
    """Nothing can be opened under an image name; fields: image_name, reason."""

    def __init__(self, image_name: str, reason: str) -> None:
        super().__init__(image_name, reason)
        self.image_name, self.reason = image_name, reason

    def __str__(self) -> str:
        return f"{self.image_name} cannot be opened: {self.reason}"


class RegistryError(OmmxPrefectError, RuntimeError):
    """An OCI registry did not do what was asked of it; fields: registry, repository, reason."""

    cure: ClassVar[str] = "Look into the registry's log; nothing that is stored here is lost."

    def __init__(self, registry: str, repository: str, reason: str) -> None:
        super().__init__(registry, repository, reason)
        self.registry, self.repository, self.reason = registry, repository, reason

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}: {self.reason}. {self.cure}"


class RegistryAuthError(RegistryError):
    """The registry refuses the credentials, or they do not allow this."""

    cure = (
        "Log in with `docker login <registry>`, or set OMMX_BASIC_AUTH_DOMAIN (host[:port]), "
        "OMMX_BASIC_AUTH_USERNAME and OMMX_BASIC_AUTH_PASSWORD, and check what the user may do."
    )


class RegistryUnavailableError(RegistryError):
    """The registry cannot be reached or is overloaded; further field: retry_after_seconds."""

    cure = "Check that it runs and that its name is right, and try again."

    def __init__(
        self, registry: str, repository: str, reason: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(registry, repository, reason)
        self.args = (*self.args, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class NotInRegistryError(RegistryError, LookupError):
    """The registry does not have this manifest or blob."""

    cure = "Check the name, and that it was pushed there."


class LocalNameError(RegistryError):
    """A name below `ommx.local`, which is OMMX's for what is on this machine alone."""

    cure = (
        'Give it a name of a registry: flow(experiment="registry/repository"), or '
        "`ommx-prefect push NAME --to registry/repository:tag`."
    )

    def __init__(self, registry: str, repository: str) -> None:
        Exception.__init__(self, registry, repository)
        self.registry, self.repository = registry, repository
        self.reason = f"{registry} is this machine's Local Registry, which no other reaches"


class ManifestTooLargeError(OmmxPrefectError, ValueError):
    """A registry would refuse a manifest for its size; fields: size, layers, limit (bytes)."""

    def __init__(self, size: int, layers: int, limit: int) -> None:
        super().__init__(size, layers, limit)
        self.size, self.layers, self.limit = size, layers, limit

    def __str__(self) -> str:
        fit = self.layers * self.limit // self.size
        return (
            f"The manifest has {self.size:,} bytes for {self.layers:,} layers; OCI registries take "
            f"{self.limit:,}, about {fit:,} such layers. Each distinct output, attachment, input "
            "and Solution is a layer, run parameters are none: log fewer attachments (put small "
            "values into run parameters, or many into one), pass log_output=False, or split the "
            "flow run into several."
        )


class InstanceFileError(OmmxPrefectError, ValueError):
    """No trustworthy instance could be loaded from this source; fields: path, reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class SolverOptionError(OmmxPrefectError, ValueError):
    """An option cannot be set; fields: adapter, option, reason."""

    def __init__(self, adapter: str, option: str, reason: str) -> None:
        super().__init__(adapter, option, reason)
        self.adapter, self.option, self.reason = adapter, option, reason

    def __str__(self) -> str:
        return f"{self.adapter} cannot take the option {self.option!r}: {self.reason}"


class UnknownAdapterError(OmmxPrefectError, ValueError):
    """This is no adapter, or it is not installed; fields: adapter, reason."""

    def __init__(self, adapter: str, reason: str) -> None:
        super().__init__(adapter, reason)
        self.adapter, self.reason = adapter, reason

    def __str__(self) -> str:
        return f"adapter={self.adapter}: {self.reason}"


class SolveOutcomeError(OmmxPrefectError):
    """A solve ended without an answer; fields: adapter, instance, reason; class field: outcome."""

    outcome: ClassVar[str] = "error"
    cure: ClassVar[str] = ""

    def __init__(self, adapter: str, instance: str, reason: str) -> None:
        super().__init__(adapter, instance, reason)
        self.adapter, self.instance, self.reason = adapter, instance, reason

    def __str__(self) -> str:
        said = f"{self.adapter} on {self.instance}: {self.reason.rstrip('. ')}."
        return f"{said} {self.cure} Or pass raise_on_failure=False to get None instead."


class InfeasibleError(SolveOutcomeError):
    """The solver proved that no solution satisfies all constraints."""

    outcome = "infeasible"
    cure = "Relax or remove a constraint (Instance.relax_constraint)."


class UnboundedError(SolveOutcomeError):
    """The solver proved that the objective has no limit."""

    outcome = "unbounded"
    cure = "Bound the variables of the objective."


class NoSolutionError(SolveOutcomeError):
    """The solver stopped before it had a feasible solution; nothing is proved."""

    outcome = "no_solution"
    cure = "Give it more time or more reads, or try another adapter."


class NotApplicableError(SolveOutcomeError):
    """The adapter does not take instances of this class, not even after its preparation."""

    outcome = "not_applicable"
    cure = "Choose an adapter that takes this class, or transform the instance."


class SolverError(SolveOutcomeError):
    """The adapter or its solver failed, or its answer contradicts the instance."""

    outcome = "error"
    cure = "The Solve record in this run's experiment keeps the input instance and the options."
