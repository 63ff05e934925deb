"""Keep the latest checkpointed value of every name of an attempt, durable at each call."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from ommx.experiment import Run

from ommx_prefect._format.compose import compose
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
    Scalar,
)
from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.collected import CollectedAttachments
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._solver.telemetry import INSTANCE
from ommx_prefect._stages.checkpoints import ANNOUNCED, NUMBER, CheckpointFiles
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.parameters import as_parameter, storable
from ommx_prefect._values.secrets import REDACTED, Redactor, is_secret, is_secret_name
from ommx_prefect.codecs import LoggedValue, log_value
from ommx_prefect.exceptions import NoCheckpointError

RESERVED = "prefect."
# How long a place that was away is not asked again: a solver calls back ten thousand times.
AWAY_SECONDS = 30.0
# How long the end of an attempt waits for a checkpoint that another thread is writing.
WRITTEN_SECONDS = 30.0


@dataclass(frozen=True)
class CheckpointedValue:
    """The latest value of one name: a run parameter, or attachments."""

    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    attachments: Attachments = field(default_factory=Attachments)


class Checkpoints:
    """The checkpoints of one attempt.

    Args:
        stage: Where they wait for the seal.
        attempt: Whose they are.
        is_over: Tells whether the attempt has ended: nothing would let go of what came later.
    """

    def __init__(
        self, stage: Stage, attempt: Attempt, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self._is_over = is_over
        self._stage = stage
        self._files = CheckpointFiles(stage)
        self._attempt = attempt
        self._parts: dict[str, CheckpointedValue] = {}
        self._payload: dict[str, bytes] = {}
        self._announced: dict[str, CheckpointedValue] = {}
        self._instances: dict[str, bytes] = {}
        self._written = self._count = 0
        self._noted: set[tuple[str, str]] = set()
        self._away_until = 0.0
        self._lock = threading.RLock()

    def save(
        self,
        values: Mapping[str, Any],
        redact: Redactor,
        notes: Collection[str] = (),
    ) -> list[str]:
        """Make values durable beside those of other names; return what could not be recorded.

        Args:
            values: Values by name; each takes the place of an earlier value of its name.
            redact: Cuts out the secrets of the attempt.
            notes: What could not be recorded of the attempt so far.

        Raises:
            NoCheckpointError: The attempt has ended.
            OSError: The stage cannot be written; the checkpoint before this one stays whole.
        """
        with self._lock:
            if self._is_over():
                raise NoCheckpointError
            latest, problems = dict(self._parts), []
            # All of it: a seal that took the attempt for dead has let go of its checkpoints.
            blobs = dict(self._payload)
            for name, value in values.items():
                others = [x.attachments for key, x in latest.items() if key != storable(name)]
                target = CollectedAttachments(blobs, others)
                part, found = _part_of(storable(name), value, target, redact)
                if part is not None:
                    latest[storable(name)] = part
                problems += self._new_problems(name, value, found)
            shared = self._write(latest, self._count + 1, blobs, (*notes, *problems))
            self._parts, self._count = latest, self._count + 1
            entries = (x for part in latest.values() for x in part.attachments.entries.values())
            self._payload = {x.digest: blobs[x.digest] for x in entries}
            return [*problems, *shared]

    def announce(
        self, announced: Announced, redact: Redactor, notes: Collection[str] = ()
    ) -> list[str]:
        """Make durable what the Run will hold if the attempt ends; as `save`."""
        with self._lock:
            if self._is_over():
                return []
            name, data = INSTANCE, announced.data
            scalars = {key: as_parameter(value) for key, value in announced.parameters.items()}
            told = {k: redact.scalar(v) for k, v in scalars.items() if v is not None}
            beside = {key: layer for key, (layer, _) in announced.solutions.items()}
            attached = Attachments({name: announced.descriptor, **beside})
            self._announced = {"": CheckpointedValue(told, attached)}
            self._instances = {announced.descriptor.digest: data}
            self._instances |= {layer.digest: x for layer, x in announced.solutions.values()}
            return self._write(self._parts, self._count, self._payload, notes)

    def await_written(self) -> None:
        """Wait (bounded) until no thread is writing a checkpoint."""
        if self._lock.acquire(timeout=WRITTEN_SECONDS):
            self._lock.release()

    def forget_announced(self) -> None:
        """Remove, on this host, what was announced, once the attempt's own record is durable.

        A checkpoint that the user made stays: its values are a part of the Run.
        """
        with self._lock:
            if self._announced and not self._count:
                self._files.discard({self._attempt.key: self._written})

    def _write(
        self,
        parts: Mapping[str, CheckpointedValue],
        count: int,
        blobs: Mapping[str, bytes],
        notes: Collection[str],
    ) -> list[str]:
        shard = self._shard(parts, count, notes)
        self._files.put(shard, {**self._instances, **blobs})
        self._written += 1
        return self._share(shard)

    def _share(self, shard: Shard) -> list[str]:
        if time.monotonic() < self._away_until:
            return []
        try:
            problem = self._stage.share_checkpoint(shard)
        except OSError as error:  # a seal may let go of it meanwhile
            problem = describe_error(error)
        if problem is None:
            return []
        self._away_until = time.monotonic() + AWAY_SECONDS
        place = self._stage.name
        return self._new_problems(place, None, [f"a checkpoint stays on this host: {problem}"])

    def _shard(
        self, parts: Mapping[str, CheckpointedValue], count: int, notes: Collection[str]
    ) -> Shard:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        last = f"the last of its {count} checkpoints is of {now}"
        own = _names_of(parts.values())
        announced = sorted(_names_of(self._announced.values()) - own)
        return Shard(
            attempt=self._attempt,
            status="interrupted",
            reason=last if count else f"its solver was started at {now}",
            parameters={NUMBER: self._written + 1, ANNOUNCED: json.dumps(announced)},
            notes=tuple(notes),
            documents=_documents_of({**self._announced, **parts}),
        )

    def _new_problems(self, name: str, value: object, problems: list[str]) -> list[str]:
        """Return problems once for each name and type: a solver calls back ten thousand times."""
        key = (name, type(value).__name__)
        if not problems or key in self._noted:
            return []
        self._noted.add(key)
        return problems


def notes_of(logged: LoggedValue, redact: Redactor) -> list[str]:
    """Return sentences about what was left out of a value, or replaced in it."""
    replaced = [f"{part}: a secret in it is replaced by {REDACTED}" for part in logged.redacted]
    skipped = [
        f"{x.name} ({x.type_name}) is not recorded: {' '.join(redact.text(x.reason).split())}"
        for x in logged.skipped
    ]
    return [storable(note) for note in (*replaced, *skipped)]


def _part_of(
    name: str, value: Any, target: CollectedAttachments, redact: Redactor
) -> tuple[CheckpointedValue | None, list[str]]:
    """Return the new value of a name, None where its earlier value stays; and problems."""
    if refusal := _refusal(name, value):
        return None, [f"checkpoint {name!r} is not recorded: {refusal}"]
    problems = []
    try:
        scalar = None if _is_file(value) else as_parameter(value)
        if scalar is not None:
            return CheckpointedValue({name: redact.scalar(scalar)}), []
    except ValueError as error:
        problems = [f"checkpoint {name!r} is attached, and no run parameter: {error}"]
    logged = log_value(cast(Run, target), name, value, forbidden=redact)
    problems += [f"checkpoint {note}" for note in notes_of(logged, redact)]
    found = Attachments(target.entries, target.filenames)
    return (CheckpointedValue(attachments=found) if target.entries else None), problems


def _is_file(value: object) -> bool:
    # A path is text where a task is given it, and a file where a task hands it out.
    return isinstance(value, Path) and value.is_file()


def _refusal(name: str, value: object) -> str:
    if name.startswith(RESERVED):
        return f"names that begin with {RESERVED!r} are Prefect's"
    if is_secret_name(name) or is_secret(value):
        return "its name looks like a credential, or its value is one"
    return "it is None" if value is None else ""


def _names_of(parts: Iterable[CheckpointedValue]) -> set[str]:
    return {name for part in parts for name in (*part.parameters, *part.attachments.entries)}


def _documents_of(parts: Mapping[str, CheckpointedValue]) -> Documents:
    parameters: dict[str, Scalar] = {}
    entries: dict[str, Descriptor] = {}
    filenames: dict[str, str] = {}
    for part in parts.values():
        parameters.update(part.parameters)
        entries.update(part.attachments.entries)
        filenames.update(part.attachments.filenames)
    run = RunRecord("finished", attachments=Attachments(entries, filenames), parameters=parameters)
    return compose(ExperimentRecord("finished", (run,))).documents
