"""What one attempt has checkpointed: the latest value of every name, made durable at each call.

Values are encoded here as OMMX would encode them, without calling OMMX's registry: a solver's
callback may be in another thread while OMMX is at work in the task's, and a payload that the next
checkpoint replaces should leave nothing behind.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from ommx.experiment import Experiment, Run

from ommx_prefect._format.compose import compose
from ommx_prefect._format.model import (
    Attachments,
    Descriptor,
    Documents,
    ExperimentRecord,
    RunRecord,
    Scalar,
    sha256_digest,
)
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.checkpoints import NUMBER, CheckpointFiles
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._values.parameters import as_parameter, storable
from ommx_prefect._values.secrets import REDACTED, Redactor, is_secret, is_secret_name
from ommx_prefect.codecs import LoggedValue, log_value

RESERVED = "prefect."
# How long a place that was away is not asked again: a solver calls back ten thousand times.
AWAY_SECONDS = 30.0


@dataclass(frozen=True)
class Part:
    """What one name stands for: a run parameter, or attachments."""

    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    attachments: Attachments = field(default_factory=Attachments)


class Checkpoints:
    """The checkpoints of one attempt.

    Args:
        stage: Where they wait for the seal.
        attempt: Whose they are.
    """

    def __init__(self, stage: Stage, attempt: Attempt) -> None:
        self._stage = stage
        self._files = CheckpointFiles(stage)
        self._attempt = attempt
        self._parts: dict[str, Part] = {}
        self._payload: dict[str, bytes] = {}
        self._count = 0
        self._told: set[tuple[str, str]] = set()
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
            OSError: The stage cannot be written; the checkpoint before this one stays whole.
        """
        with self._lock:
            latest, problems = dict(self._parts), []
            # All of it: a seal that took the attempt for dead has let go of its checkpoints.
            blobs = dict(self._payload)
            for name, value in values.items():
                others = [part for key, part in latest.items() if key != storable(name)]
                part, found = _part_of(storable(name), value, _Collected(blobs, others), redact)
                if part is not None:
                    latest[storable(name)] = part
                problems += self._untold(name, value, found)
            shard = self._shard(latest, (*notes, *problems))
            self._files.put(shard, blobs)
            self._parts, self._count = latest, self._count + 1
            entries = (x for part in latest.values() for x in part.attachments.entries.values())
            self._payload = {x.digest: blobs[x.digest] for x in entries}
            return [*problems, *self._share(shard)]

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
        return self._untold(place, None, [f"a checkpoint stays on this host: {problem}"])

    def _shard(self, parts: Mapping[str, Part], notes: Collection[str]) -> Shard:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return Shard(
            attempt=self._attempt,
            status="interrupted",
            reason=f"the last of its {self._count + 1} checkpoints is of {now}",
            parameters={NUMBER: self._count + 1},
            notes=tuple(notes),
            documents=_documents_of(parts),
        )

    def _untold(self, name: str, value: object, problems: list[str]) -> list[str]:
        """Return problems once for each name and type: a solver calls back ten thousand times."""
        key = (name, type(value).__name__)
        if not problems or key in self._told:
            return []
        self._told.add(key)
        return problems


def notes_of(logged: LoggedValue, redact: Redactor) -> list[str]:
    """Say what of a value was left out or replaced."""
    replaced = [f"{part}: a secret in it is replaced by {REDACTED}" for part in logged.redacted]
    skipped = [
        f"{x.name} ({x.type_name}) is not recorded: {' '.join(redact.text(x.reason).split())}"
        for x in logged.skipped
    ]
    return [storable(note) for note in (*replaced, *skipped)]


def _part_of(
    name: str, value: Any, target: _Collected, redact: Redactor
) -> tuple[Part | None, list[str]]:
    """Return what a name stands for now, None where its earlier value stays; and problems."""
    if refusal := _refusal(name, value):
        return None, [f"checkpoint {name!r} is not recorded: {refusal}"]
    problems = []
    try:
        scalar = None if _is_file(value) else as_parameter(value)
        if scalar is not None:
            return Part({name: redact.scalar(scalar)}), []
    except ValueError as error:
        problems = [f"checkpoint {name!r} is attached, and no run parameter: {error}"]
    logged = log_value(cast(Run, target), name, value, forbidden=redact.secrets)
    problems += [f"checkpoint {note}" for note in notes_of(logged, redact)]
    found = Attachments(target.entries, target.filenames)
    return (Part(attachments=found) if target.entries else None), problems


def _is_file(value: object) -> bool:
    # A path is text where a task is given it, and a file where a task hands it out.
    return isinstance(value, Path) and value.is_file()


def _refusal(name: str, value: object) -> str:
    if name.startswith(RESERVED):
        return f"names that begin with {RESERVED!r} are Prefect's"
    if is_secret_name(name) or is_secret(value):
        return "its name looks like a credential, or its value is one"
    return "it is None" if value is None else ""


def _documents_of(parts: Mapping[str, Part]) -> Documents:
    parameters: dict[str, Scalar] = {}
    entries: dict[str, Descriptor] = {}
    filenames: dict[str, str] = {}
    for part in parts.values():
        parameters.update(part.parameters)
        entries.update(part.attachments.entries)
        filenames.update(part.attachments.filenames)
    run = RunRecord("finished", attachments=Attachments(entries, filenames), parameters=parameters)
    return compose(ExperimentRecord("finished", (run,))).documents


class _Collected:
    """Takes what `log_value` and the codecs log as a Run does, and keeps it in memory.

    Args:
        blobs: Where payloads go, by digest.
        others: What other names stand for; attachments of theirs keep their names.
    """

    def __init__(self, blobs: dict[str, bytes], others: Collection[Part]) -> None:
        self.blobs = blobs
        self.entries: dict[str, Descriptor] = {}
        self.filenames: dict[str, str] = {}
        self._taken = {name for part in others for name in part.attachments.entries}

    def log_attachment(
        self, name: str, media_type: str, data: bytes, *, compression: object = None
    ) -> None:
        self._add(name, media_type, data)

    def log_json(self, name: str, value: object, *, compression: object = None) -> None:
        self._add(name, "application/json", json.dumps(value).encode())

    def log_with_codec(
        self, codec: Any, name: str, value: object, *, compression: object = None
    ) -> None:
        self._add(name, codec.media_type, codec.encode(value))

    def log_file(self, name: str, path: Path, media_type: str | None = None) -> None:
        self._add(name, *_typed_file(path, media_type))
        self.filenames[name] = path.name

    def log_instance(self, name: str, value: Any) -> None:
        self._add_ommx(name, "application/org.ommx.v2.instance", value)

    def log_parametric_instance(self, name: str, value: Any) -> None:
        self._add_ommx(name, "application/org.ommx.v2.parametric-instance", value)

    def log_solution(self, name: str, value: Any) -> None:
        self._add_ommx(name, "application/org.ommx.v2.solution", value)

    def log_sample_set(self, name: str, value: Any) -> None:
        self._add_ommx(name, "application/org.ommx.v2.sample-set", value)

    def _add_ommx(self, name: str, media_type: str, value: Any) -> None:
        self._add(name, media_type, value.to_v2_bytes(), value.annotations)

    def _add(
        self, name: str, media_type: str, data: bytes, annotations: Mapping[str, str] | None = None
    ) -> None:
        if name in self._taken or name in self.entries:  # in OMMX's words, which log_value knows
            raise RuntimeError(f"Attachment `{name}` already exists")
        digest = sha256_digest(data)
        noted = tuple(sorted((annotations or {}).items()))
        self.entries[name] = Descriptor(media_type, digest, len(data), noted)
        self.blobs[digest] = data


def _typed_file(path: Path, media_type: str | None) -> tuple[str, bytes]:
    """Return a file's media type, as OMMX tells it by the content, and its bytes."""
    if media_type is not None:
        return media_type, path.read_bytes()
    experiment = Experiment.with_temp_local_registry()
    experiment.log_file("file", path)
    artifact = experiment.commit()
    layer = artifact.layers[0]
    return layer.media_type, artifact.get_blob(layer)
