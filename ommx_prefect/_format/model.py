"""The parts of an OMMX Experiment as frozen records, identified by their exact bytes.

An Experiment is an OCI image manifest (`artifactType` application/org.ommx.v1.experiment), a
config JSON that refers to layers by index, and one MessagePack layer of run parameters (OMMX
3.0, rust/ommx/src/experiment/config.rs and parameter.rs). `decode` turns the three into records
that hold descriptors instead of indexes; `encode` writes records in the byte form of OMMX.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ommx_prefect.exceptions import DocumentError

ARTIFACT_TYPE = "application/org.ommx.v1.experiment"
CONFIG_MEDIA_TYPE = "application/org.ommx.v1.experiment.config+json"
PARAMETERS_MEDIA_TYPE = "application/org.ommx.v1.experiment.run-parameters+msgpack"
MANIFEST_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
# OMMX's media types of what a Run holds, in the version that OMMX 3 writes.
INSTANCE_MEDIA_TYPE = "application/org.ommx.v2.instance"
PARAMETRIC_INSTANCE_MEDIA_TYPE = "application/org.ommx.v2.parametric-instance"
SOLUTION_MEDIA_TYPE = "application/org.ommx.v2.solution"
SAMPLE_SET_MEDIA_TYPE = "application/org.ommx.v2.sample-set"

# Statuses of Runs that people look at first, the worst first.
UNWELL = ("failed", "interrupted")
# Column type of the run-parameter table -> the Python type of its cells.
COLUMN_TYPES: dict[str, type] = {"bool": bool, "int64": int, "float64": float, "string": str}

Scalar = bool | int | float | str
# The integers that a column of them holds.
INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An OCI descriptor: what a layer is, its sha256 digest, and its size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the descriptor as OMMX writes it."""
        return {
            "annotations": dict(self.annotations),
            "digest": self.digest,
            "mediaType": self.media_type,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Attachments:
    """Named layers of an Experiment or a Run, and the file names that `log_file` keeps."""

    entries: Mapping[str, Descriptor] = field(default_factory=dict)
    filenames: Mapping[str, str] = field(default_factory=dict)


# One Solve or Sampling: its keys in the order of the config, with descriptors for layer indexes.
Call = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One Run: how it ended, what it holds, and its run parameters."""

    status: str
    reason: str | None = None
    attachments: Attachments = field(default_factory=Attachments)
    trace: Descriptor | None = None
    solves: tuple[Call, ...] = ()
    samplings: tuple[Call, ...] = ()
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class ExperimentRecord:
    """One Experiment with its Runs in the order of their ids, which are consecutive.

    `subject` is the manifest that it follows, or is about, as OCI has it. `first_run_id` is not 0
    in a part of a larger experiment, whose Runs have the ids that they have in the whole.
    """

    status: str
    runs: tuple[RunRecord, ...]
    attachments: Attachments = field(default_factory=Attachments)
    annotations: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    requested_image_name: str | None = None
    subject: Descriptor | None = None
    first_run_id: int = 0


@dataclass(frozen=True)
class Documents:
    """The exact bytes of one Experiment; their sha256 is their identity."""

    manifest: bytes
    config: bytes
    parameters: bytes

    @property
    def digest(self) -> str:
        """The manifest digest, which names the Experiment immutably."""
        return sha256_digest(self.manifest)


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Digest(str):
    """`sha256:` and 64 lower-case hexadecimal digits: the only digests there are here.

    Raises:
        DocumentError: A text is none.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Parse a text."""
        if not isinstance(text, str) or _DIGEST.fullmatch(text) is None:
            raise DocumentError(
                f"{str(text)[:100]!r} is no digest, which is sha256:<64 hex digits>"
            )
        return super().__new__(cls, text)


def sha256_digest(data: bytes) -> str:
    """Return `sha256:<hex>` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def hex_of(digest: str) -> str:
    """Return the hexadecimal part of a digest: the one place in which it becomes a file's name.

    Raises:
        DocumentError: It is no digest.
    """
    return Digest(digest)[7:]


def describe(
    media_type: str, data: bytes, annotations: Mapping[str, str] | None = None
) -> Descriptor:
    """Return the descriptor of the bytes, its annotations in the order of their names."""
    noted = tuple(sorted((annotations or {}).items()))
    return Descriptor(media_type, sha256_digest(data), len(data), noted)
