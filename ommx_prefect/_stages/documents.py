"""The files and folders of a stage in one table, and the documents among them.

Each document is a JSON object: the fields of its schema, and the number of its `format` (see
`_shards.schema`). Shards, parts and checkpoints are MessagePack, and bear their own number.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AfterValidator

from ommx_prefect._oci.image_name import suffix_of, with_suffix
from ommx_prefect._oci.names import image_name, image_tag
from ommx_prefect._registry.layout import BLOBS, INDEX_FILE, LAYOUT_FILE
from ommx_prefect._shards.digests import FIRST_DOCUMENT_FORMAT
from ommx_prefect._shards.names import FlowRunId, RecordKey
from ommx_prefect._shards.schema import (
    CLOSED,
    Count,
    OtherId,
    PrefectId,
    RootId,
    Scalars,
    Status,
    Text,
    Word,
    parsed,
    stored,
)
from ommx_prefect._shards.shard import SHARD_FORMAT, Attempt, Shard
from ommx_prefect._stages.address import LOCAL, checked_stage
from ommx_prefect._stages.protocol import Stage, damaged, well_formed
from ommx_prefect.exceptions import DocumentError, StageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

# What the seal needs to know of a flow run.
FLOW_RECORD = "flow.json"
# How the flow run ended; removed when it starts again.
STATE_RECORD = "state.json"
# Which process started the flow run last.
PROCESS_RECORD = "process.json"
# What a seal is publishing, while it does.
INTENT = "sealing.json"
# What has been sealed, and with which shards.
SEALED_RECORD = "sealed.json"
# Whose outbox a local stage is.
OUTBOX_RECORD = "outbox.json"
# Tells that it was this host which removed the flow run's records after a finished seal.
RELEASED = "released.json"
# One file for each attempt that began, for each that ended, and for each call on
# current_experiment(), by its key.
STARTS, SHARDS, PARTS = "starts", "shards", "parts"
# One folder for each attempt that has checkpointed, by its key.
CHECKPOINTS = "checkpoints"
# One file for each task run that was rolled back, and for each subflow run, by its id.
ROLLED_BACK, SUBFLOWS = "rolled-back", "subflows"
# What holds one file, or folder, for each record; all else is one document.
FOLDERS = frozenset({STARTS, SHARDS, PARTS, CHECKPOINTS, ROLLED_BACK, SUBFLOWS})
# Where copies of shared documents wait that could not be sent, the slash of a name as a dot.
UNSENT = "unsent"
# Copies of what other hosts have left in the shared place: the one folder that names from there
# reach. All else that lies in the folder of a stage was written by this host.
INBOX = "inbox"
# From which shared place they are.
INBOX_RECORD = "inbox.json"
# Damaged records that were set aside.
QUARANTINE = "quarantine"
# Held while the stage is sealed.
LOCK = ".lock"


def _is_stage(text: str) -> str:
    try:
        checked_stage(text)
    except StageError as error:
        raise DocumentError(error.reason) from None
    return text


# The address of a stage.
Address = Annotated[Text, AfterValidator(_is_stage)]
# How an experiment follows the previous night: it names it, or holds its Runs, too.
Lineage = Literal["previous", "accumulate"]
# Whose a record is: seen by all hosts where the stage is shared, or this host's alone.
Reach = Literal["shared", "host"]


@dataclass(frozen=True)
class FlowRecord:
    """The facts of a flow run that a seal needs, kept in its stage as `flow.json`.

    Attributes:
        root_flow_run_id: Id of the flow run to whose experiment this one belongs; mostly its own.
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
        registry: The block with the credentials of its registry; empty without one.
        lineage: How the experiment follows the previous night; empty where it does not.
    """

    __pydantic_config__ = CLOSED

    root_flow_run_id: RootId
    image_name: Annotated[str, AfterValidator(lambda text: text and image_name(text))]
    replace: bool
    aliases: tuple[Annotated[str, AfterValidator(image_tag)], ...]
    chosen: bool
    flow_run_id: PrefectId
    flow_run: Text
    flow: Text
    deployment_id: OtherId
    scheduled_time: Word
    parameters: Scalars
    push: bool = False
    stage: Address = LOCAL
    registry: Text = ""
    lineage: Lineage | Literal[""] = ""

    @property
    def other_name(self) -> str:
        """The name that the experiment gets where another flow run has taken its own."""
        return with_suffix(self.image_name, suffix_of(self.flow_run_id))


@dataclass(frozen=True)
class End:
    """How a flow run ended: Experiment status, Prefect's name of the state, and the reason."""

    __pydantic_config__ = CLOSED

    status: Status
    state: Text
    reason: Text | None


@dataclass(frozen=True)
class FlowProcess:
    """The process that started a flow run last."""

    __pydantic_config__ = CLOSED

    host: Word
    pid: Count
    process_start: Word


@dataclass(frozen=True)
class PlaceRecord:
    """The shared place to which an outbox belongs, or from which an inbox is."""

    __pydantic_config__ = CLOSED

    stage: Address


@dataclass(frozen=True)
class Mark:
    """A document without content: its name says it all, such as which task run was rolled back."""

    __pydantic_config__ = CLOSED


@dataclass(frozen=True)
class Kind:
    """A file of a stage, or a folder of files of one kind.

    Attributes:
        name: Its name.
        reach: Whether other hosts see it.
        schema: What it holds: a document, or in a folder many; None for payload, files of OCI
            and locks, and for what the seal keeps for itself.
        format: The newest format of its documents, which is written.
    """

    name: str
    reach: Reach
    schema: type | None = None
    format: int = FIRST_DOCUMENT_FORMAT


KINDS = {
    kind.name: kind
    for kind in (
        Kind(FLOW_RECORD, "shared", FlowRecord, 2),
        Kind(STARTS, "shared", Attempt),
        Kind(SHARDS, "shared", Shard, SHARD_FORMAT),
        Kind(PARTS, "shared", Shard, SHARD_FORMAT),
        Kind(CHECKPOINTS, "shared", Shard, SHARD_FORMAT),
        Kind(SUBFLOWS, "shared", FlowRecord, 2),
        Kind(ROLLED_BACK, "shared", Mark),
        Kind(PROCESS_RECORD, "host", FlowProcess),
        Kind(STATE_RECORD, "host", End),
        Kind(INTENT, "host"),  # see _sealing.publish
        Kind(SEALED_RECORD, "host"),  # see _sealing.result
        Kind(OUTBOX_RECORD, "host", PlaceRecord),
        Kind(INBOX_RECORD, "host", PlaceRecord),
        Kind(INBOX, "host"),  # copies of shared documents
        Kind(RELEASED, "host", Mark),
        Kind(QUARANTINE, "host"),
        Kind(UNSENT, "host"),  # copies of shared documents
        Kind(BLOBS, "host"),
        Kind(LAYOUT_FILE, "host"),
        Kind(INDEX_FILE, "host"),
        Kind(LOCK, "host"),
    )
}


def kind_of(name: str) -> Kind | None:
    """Return the kind of a name such as `flow.json` or `starts/<key>`; None for other names."""
    return KINDS.get(name.partition("/")[0])


def path_in(folder: Path, name: str) -> Path:
    """Return the file of a document in the folder of a stage, see `file_in`."""
    return Path(file_in(str(folder), name))


def file_in(folder: str, name: str) -> str:
    """Return the file of a document in the folder of a stage: the one place that makes its path.

    Args:
        folder: The folder.
        name: `flow.json`, or `starts/<key>`.

    Raises:
        DocumentError: The table has no such kind, or the key is none.
    """
    first, is_record, key = name.partition("/")
    if first not in KINDS:
        raise DocumentError(f"{name!r} is none of a stage's documents")
    return f"{folder}/{first}/{RecordKey(key)}" if is_record else f"{folder}/{first}"


def object_name(flow_run_id: str, name: str) -> str:
    """Return the name of a shared document in the place that hosts share: the one place, too.

    Raises:
        DocumentError: No document of that name is shared, or the key is none.
    """
    kind, (_, is_record, key) = kind_of(name), name.partition("/")
    if kind is None or kind.reach != "shared":
        raise DocumentError(f"{name!r} is none of the documents that hosts share")
    own = f"{kind.name}/{RecordKey(key)}" if is_record else name
    return f"{FlowRunId(flow_run_id)}/{own}"


def format_of(name: str) -> int:
    """Return the format in which a document is written, by its name."""
    kind = kind_of(name)
    return kind.format if kind else 1


def read_document(stage: Stage, name: str, schema: type[T]) -> T | None:
    """Read a document of a stage as its schema, or None where there is none.

    Raises:
        DocumentError: It is damaged, or of another shape.
        UnknownFormatError: A later release wrote it.
    """
    fields = stage.read(name)
    if fields is None:
        return None
    with well_formed(stage, name):
        return parsed(schema, fields)


def write_document(stage: Stage, name: str, document: DataclassInstance) -> None:
    """Write a document of a stage."""
    stage.write(name, stored(asdict(document)))


def read_flow_record(stage: Stage) -> FlowRecord | None:
    """Read the record of a flow run, or None where it never started here."""
    record = read_document(stage, FLOW_RECORD, FlowRecord)
    if record is not None and record.flow_run_id != stage.flow_run_id:
        error = DocumentError(f"it belongs to flow run {record.flow_run_id}")
        raise damaged(stage.path / FLOW_RECORD, error)
    return record


def read_end(stage: Stage) -> End | None:
    """Read how a flow run ended, as Prefect told its hook; None before that."""
    return read_document(stage, STATE_RECORD, End)
