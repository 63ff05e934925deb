"""The documents of a stage: the names of its files, and what the record of a flow run holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ommx_prefect._format.model import Scalar
from ommx_prefect._oci.image_name import suffix_of, with_suffix
from ommx_prefect._stages.protocol import Stage, well_formed

# The name of the stage in the Local Registry, where a storage block could stand.
LOCAL = "local"
# What the seal needs to know of a flow run.
FLOW_RECORD = "flow.json"
# What has been sealed, and with which shards.
SEALED_RECORD = "sealed.json"
# How the flow run ended; removed when it starts again.
STATE_RECORD = "state.json"
# Which process started the flow run last.
PROCESS_RECORD = "process.json"
# What a seal is publishing, while it does.
INTENT = "sealing.json"
# Whose outbox a local stage is: {"stage": name}.
OUTBOX_RECORD = "outbox.json"
# Tells that it was this host which removed the flow run's records after a finished seal.
RELEASED = "released.json"
# Where copies of shared documents wait that could not be sent, the slash of a name as a dot.
UNSENT = "unsent"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class FlowRecord:
    """What the seal needs to know of a flow run, kept in its stage as `flow.json`.

    Attributes:
        owner: Id of the flow run whose experiment this is; another one's in a subflow without
            an experiment of its own.
        image_name: The name to seal under; empty in such a subflow.
        replace: Whether the name may be moved from another experiment.
        aliases: Tags to move to the experiment when it is finished.
        chosen: Whether the user chose tag and all, so that the name may be taken by others.
        flow_run_id: Prefect's id.
        flow_run: Prefect's name of the flow run.
        flow: Name of the flow.
        deployment_id: Prefect's id, or empty.
        scheduled_time: ISO 8601, UTC.
        parameters: The flow's scalar parameters, without secrets.
        push: Whether the finished experiment is pushed; older records do not have it.
        stage: Where its shards wait.
    """

    owner: str
    image_name: str
    replace: bool
    aliases: tuple[str, ...]
    chosen: bool
    flow_run_id: str
    flow_run: str
    flow: str
    deployment_id: str
    scheduled_time: str
    parameters: Mapping[str, Scalar]
    push: bool = False
    stage: str = LOCAL

    @property
    def other_name(self) -> str:
        """The name that the experiment gets where another flow run has taken its own."""
        return with_suffix(self.image_name, suffix_of(self.flow_run_id))


@dataclass(frozen=True)
class End:
    """How a flow run ended: Experiment status, Prefect's name of the state, and the reason."""

    status: str
    state: str
    reason: str | None


def read_flow_record(stage: Stage) -> FlowRecord | None:
    """Read the record of a flow run, or None where it never started here."""
    document = stage.read(FLOW_RECORD)
    if document is None:
        return None
    with well_formed(stage, FLOW_RECORD):
        return FlowRecord(**{**document, "aliases": tuple(document["aliases"])})


def read_end(stage: Stage) -> End | None:
    """Read how a flow run ended, as its hook was told it; None until it was."""
    document = stage.read(STATE_RECORD)
    if document is None:
        return None
    with well_formed(stage, STATE_RECORD):
        return End(**document)
