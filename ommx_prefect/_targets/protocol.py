"""The interface of a place where a seal publishes an experiment.

| class | where |
|---|---|
| `LocalTarget` | the Local Registry of this machine (see `_targets.local`) |
| `OciTarget` | the repository of the experiment's name in an OCI registry (see `_targets.oci`) |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from ommx.experiment import Experiment

from ommx_prefect._format.compose import Composition
from ommx_prefect._format.model import Descriptor, Documents


class Target(Protocol):
    """A place where an experiment is stored, verified and published.

    Attributes:
        target_stage: The stage in whose registry experiments are composed; empty for the Local
            Registry. `SealedExperiment` has it as `composed_in`.
    """

    target_stage: str

    def find(self, name: str) -> str | None:
        """Return the manifest digest that an image name points to, or None."""

    def holds(self, digest: str) -> bool:
        """Tell whether an experiment was stored, under whatever name."""

    def read(self, digest: str) -> Documents:
        """Read the documents of an experiment."""

    def read_blob(self, layer: Descriptor) -> bytes:
        """Read one of its layers."""

    def refusal(self, documents: Documents) -> str:
        """Say why an experiment cannot be stored here; empty if it can."""

    def keep(self, layers: Collection[Descriptor]) -> None:
        """Make payload available until an experiment that names it is stored."""

    def store(self, composition: Composition) -> None:
        """Store an experiment without the user's name, and check that it reads back as composed.

        Raises:
            DocumentError: It is not; the shards are kept.
        """

    def publish(self, digest: str, names: Mapping[str, str | None]) -> None:
        """Point names to an experiment that was stored.

        Args:
            digest: Its manifest digest.
            names: The names, and what each pointed to when it was decided to move it.

        Raises:
            NameMovedError: One points to something else since; where the target can tell.
        """

    def open(self, digest: str, name: str) -> Experiment | None:
        """Open an experiment, or return None where the name does not point to it any more."""
