"""Attachments that are encoded in memory, as OMMX would encode them in its registry.

A checkpoint cannot call OMMX's registry: a solver's callback may be in another thread while OMMX is
at work in the task's, and a payload that the next checkpoint replaces should leave nothing behind.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ommx.experiment import Experiment

from ommx_prefect._format.model import (
    INSTANCE_MEDIA_TYPE,
    PARAMETRIC_INSTANCE_MEDIA_TYPE,
    SAMPLE_SET_MEDIA_TYPE,
    SOLUTION_MEDIA_TYPE,
    Attachments,
    Descriptor,
    describe,
)

# How much of a file is looked at to tell its type.
MOST_TYPED = 4 * 2**20


class CollectedAttachments:
    """Attachments of one name, in memory; `log_value` and codecs take it for a Run.

    Args:
        blobs: Where payloads go, by digest.
        others: Attachments of other names; they keep their names.
    """

    def __init__(self, blobs: dict[str, bytes], others: Collection[Attachments]) -> None:
        self.blobs = blobs
        self.entries: dict[str, Descriptor] = {}
        self.filenames: dict[str, str] = {}
        self._taken = {name for each in others for name in each.entries}

    @property
    def attachments(self) -> Attachments:
        """What was attached, by name."""
        return Attachments(self.entries, self.filenames)

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
        self._add(name, media_type or type_of_file(path), path.read_bytes())
        self.filenames[name] = path.name

    def log_instance(self, name: str, value: Any) -> None:
        self._add_ommx(name, INSTANCE_MEDIA_TYPE, value)

    def log_parametric_instance(self, name: str, value: Any) -> None:
        self._add_ommx(name, PARAMETRIC_INSTANCE_MEDIA_TYPE, value)

    def log_solution(self, name: str, value: Any) -> None:
        self._add_ommx(name, SOLUTION_MEDIA_TYPE, value)

    def log_sample_set(self, name: str, value: Any) -> None:
        self._add_ommx(name, SAMPLE_SET_MEDIA_TYPE, value)

    def _add_ommx(self, name: str, media_type: str, value: Any) -> None:
        self._add(name, media_type, value.to_v2_bytes(), value.annotations)

    def _add(
        self, name: str, media_type: str, data: bytes, annotations: Mapping[str, str] | None = None
    ) -> None:
        layer = describe(media_type, data, annotations)
        self.name_layer(name, layer)
        self.blobs[layer.digest] = data

    def name_layer(self, name: str, layer: Descriptor) -> None:
        """Give a name to payload that is stored elsewhere."""
        if name in self._taken or name in self.entries:  # in OMMX's words, which log_value knows
            raise RuntimeError(f"Attachment `{name}` already exists")
        self.entries[name] = layer


def type_of_file(path: Path) -> str:
    """Return a file's media type, as OMMX tells it by the content."""
    if path.stat().st_size <= MOST_TYPED:
        return _typed_by_ommx(path)
    with path.open("rb") as file, tempfile.TemporaryDirectory() as folder:
        head = Path(folder) / "head"
        head.write_bytes(file.read(MOST_TYPED))
        return _typed_by_ommx(head)


def _typed_by_ommx(path: Path) -> str:
    experiment = Experiment.with_temp_local_registry()
    experiment.log_file("file", path)
    return experiment.commit().layers[0].media_type
