"""What one attempt leaves behind: a shard, as one file's bytes.

A shard is a MessagePack map: who (`attempt`), how it ended (`status`, `reason`, `parameters`),
what could not be recorded (`notes`), and the exact documents of the one-Run Experiment that
holds its payload (`documents`; absent when nothing of it could be stored). Small payload may be in
it, by digest (`payload`); other payload stays in the Local Registry, or comes with its archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import msgpack

from ommx_prefect._format.model import Documents, Scalar, sha256_digest
from ommx_prefect._shards import columns
from ommx_prefect._shards.digests import (
    DIGEST_KEY,
    FIRST_SHARD_FORMAT,
    MOST_MEMBERS,
    bounded,
    check_packed_digest,
    packed_with_digest,
    unpacked,
)
from ommx_prefect._shards.schema import (
    CLOSED,
    FORMAT_KEY,
    Columns,
    Count,
    Key,
    OtherId,
    RootId,
    Seconds,
    Status,
    Text,
    Word,
    check_format,
    parsed,
    stored,
)
from ommx_prefect.exceptions import DocumentError, UnknownFormatError

# Release 0.1.0 wrote format 1, without a digest.
SHARD_FORMAT = FIRST_SHARD_FORMAT
# Each list, map and member of JSON but the first has one of these.
JSON_MEMBERS = (b"[", b"{", b",")
# Of an Experiment with one Run: it has some five for each attachment.
MOST_OF_JSON = 1_000_000


@dataclass(frozen=True)
class Attempt:
    """One execution of a task run's function.

    Attributes:
        root_flow_run_id: Id of the flow run whose experiment this belongs to.
        flow_run_id: Id of the flow run that ran it (a subflow's, perhaps); empty outside flows.
        flow_attempt: Run count of that flow run; 0 outside flows.
        task_run_id: Id of the task run; empty for a Run that is no task.
        task: Name of the task.
        task_run: Name of the task run.
        attempt: Run count of the task run, from 1.
        nonce: Tells apart executions that share everything else (Dask and Ray rerun lost tasks).
        started_at: Seconds since the epoch.
        host: Name of the machine.
        pid: Process id on it.
        parent_task_run_id: Id of the task run in whose body it was called, or empty.
        process_start: When that process started, as the system tells it; empty where it does not.
        inputs: The scalar arguments, without secrets: run parameters however the attempt ends.
    """

    __pydantic_config__ = CLOSED

    root_flow_run_id: RootId
    flow_run_id: OtherId
    flow_attempt: Count
    task_run_id: OtherId
    task: Text
    task_run: Text
    attempt: Count
    nonce: Key
    started_at: Seconds
    host: Word
    pid: Count
    parent_task_run_id: OtherId = ""
    process_start: Word = ""
    inputs: Columns = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name of this execution, unique and sortable by task run."""
        return f"{self.task_run_id or 'run'}-{self.attempt}-{self.nonce}"

    @property
    def order(self) -> tuple[float, str]:
        """Runs are numbered in order of start, ties by key."""
        return self.started_at, self.key

    def with_inputs(self, inputs: Mapping[str, Scalar]) -> Attempt:
        """Return the attempt with its scalar arguments; `dataclasses.replace` sets each field."""
        made = object.__new__(Attempt)
        vars(made).update(vars(self), inputs=inputs)
        return made

    def parameters(self, state: str, duration_seconds: float | None) -> dict[str, Scalar]:
        """Return the `prefect.*` columns of this attempt's Run."""
        started = datetime.fromtimestamp(self.started_at, timezone.utc)
        found: dict[str, Scalar] = {
            columns.TASK: self.task,
            columns.ATTEMPT: self.attempt,
            columns.FLOW_ATTEMPT: self.flow_attempt,
            columns.STATE: state,
            columns.STARTED_AT: started.isoformat(timespec="microseconds"),
            columns.HOST: self.host,
        }
        if self.task_run_id:
            found[columns.TASK_RUN_ID] = self.task_run_id
        if duration_seconds is not None:
            found[columns.DURATION] = duration_seconds
        return found


@dataclass(frozen=True)
class Shard:
    """How one attempt ended, and the Experiment that holds what it recorded."""

    __pydantic_config__ = CLOSED

    attempt: Attempt
    status: Status
    reason: Text | None = None
    parameters: Columns = field(default_factory=dict)
    notes: tuple[Text, ...] = ()
    documents: Documents | None = None
    # Payload that travels inside of the record: bytes by digest.
    payload: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def bare(self) -> Shard:
        """The shard without the payload in it, as stages give it out."""
        return self._with(payload={}) if self.payload else self

    def _with(self, **fields: Any) -> Shard:
        """Return the shard with other fields; `dataclasses.replace` sets each, also the same."""
        made = object.__new__(Shard)
        vars(made).update(vars(self), **fields)
        return made

    @property
    def ended_at(self) -> float:
        """When the attempt ended, in seconds since the epoch; when it began, where none is told."""
        lasted = self.parameters.get(columns.DURATION)
        return self.attempt.started_at + (lasted if isinstance(lasted, (int, float)) else 0.0)

    def to_bytes(self) -> bytes:
        """Write the shard as MessagePack."""
        documents = self.documents and vars(self.documents)
        payload = {"payload": dict(self.payload)} if self.payload else {}
        packed: bytes = msgpack.packb(
            {
                FORMAT_KEY: SHARD_FORMAT,
                "attempt": stored(vars(self.attempt)),
                "status": self.status,
                "reason": self.reason,
                "parameters": dict(self.parameters),
                "notes": list(self.notes),
                "documents": documents,
                **payload,
            }
        )
        return packed_with_digest(packed)

    @classmethod
    def from_bytes(cls, data: bytes) -> Shard:
        """Read a shard.

        Raises:
            DocumentError: The bytes are no shard.
            UnknownFormatError: A later release wrote them.
        """
        try:
            fields: dict[str, Any] = unpacked(data)
            if check_format(fields.pop(FORMAT_KEY), SHARD_FORMAT) >= FIRST_SHARD_FORMAT:
                check_packed_digest(data)
                del fields[DIGEST_KEY]
            documents = _documents_of(fields.pop("documents"))
            payload = _payload_of(fields.pop("payload", {}))
            return parsed(cls, fields)._with(documents=documents, payload=payload)
        except UnknownFormatError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DocumentError(f"not a shard: {error}") from error


def _documents_of(found: Any) -> Documents | None:
    if found is None:
        return None
    documents = Documents(**found)
    if not all(isinstance(part, bytes) for part in vars(documents).values()):
        raise DocumentError("a document of its Experiment is no bytes")
    _check_members(documents)
    return documents


def _check_members(documents: Documents) -> None:
    """Raise an error where the Experiment of an attempt would take more memory than it may."""
    for data in (documents.manifest, documents.config):
        if len(data) > MOST_OF_JSON and sum(map(data.count, JSON_MEMBERS)) > MOST_OF_JSON:
            raise DocumentError(f"its Experiment has more than {MOST_OF_JSON:,} members")
    if len(documents.parameters) > MOST_MEMBERS:
        bounded(documents.parameters, strict_map_key=False)


def _payload_of(found: Mapping[str, bytes]) -> dict[str, bytes]:
    for digest, data in found.items():
        if sha256_digest(data) != digest:
            raise DocumentError(f"its payload {digest} is damaged: its bytes have another digest")
    return dict(found)
