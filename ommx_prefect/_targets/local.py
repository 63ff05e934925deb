"""Where a sealed experiment stands: the Local Registry, or another home of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ommx.experiment import Experiment

from ommx_prefect._format.model import Descriptor, Documents, ExperimentRecord
from ommx_prefect._registry.blobs import blob_path, find, load_named, read_blob, read_documents
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.publish import import_and_verify, publish_names


class Home(Protocol):
    """What a seal needs of the place where the experiment is to stand.

    Attributes:
        composed_in: The stage in whose registry experiments are composed; empty at home here.
    """

    composed_in: str

    def find(self, name: str) -> str | None:
        """Return the manifest digest that an image name points to, or None."""

    def holds(self, digest: str) -> bool:
        """Tell whether an experiment was stored, under whatever name."""

    def read(self, digest: str) -> Documents:
        """Read the documents of an experiment."""

    def read_blob(self, layer: Descriptor) -> bytes:
        """Read one of its layers."""

    def refusal(self, documents: Documents) -> str:
        """Say why an experiment cannot stand here; empty if it can."""

    def keep(self, *documents: Documents) -> None:
        """Keep payload within reach until an experiment that names it is stored."""

    def store(self, documents: Documents, wanted: ExperimentRecord) -> None:
        """Store an experiment under no name of the user's, and check that it is what was meant.

        Raises:
            DocumentError: It is not; the shards are kept.
        """

    def publish(self, digest: str, names: Mapping[str, str | None]) -> None:
        """Point names to an experiment that was stored.

        Args:
            digest: Its manifest digest.
            names: The names, and what each pointed to when it was decided to move it.

        Raises:
            NameMovedError: One points to something else since; where the home can tell.
        """

    def open(self, digest: str, name: str) -> Experiment | None:
        """Open an experiment, or return None where the name does not point to it any more."""


class LocalHome:
    """The Local Registry, where every experiment can stand.

    Args:
        stage: The stage whose experiment it is.
    """

    composed_in = ""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def find(self, name: str) -> str | None:
        """Return the manifest digest that an image name points to, or None."""
        return find(name)

    def holds(self, digest: str) -> bool:
        """Tell whether an experiment was imported."""
        return blob_path(digest).exists()

    def read(self, digest: str) -> Documents:
        """Read the documents of an experiment."""
        return read_documents(digest)

    def read_blob(self, layer: Descriptor) -> bytes:
        """Read one of its layers."""
        return read_blob(layer.digest)

    def refusal(self, documents: Documents) -> str:
        """Every experiment can stand here."""
        return ""

    def keep(self, *documents: Documents) -> None:
        """Link or copy payload into the stage, from which it is imported."""
        self._stage.pin(*documents)

    def store(self, documents: Documents, wanted: ExperimentRecord) -> None:
        """Import an experiment, and check what `ommx` reads."""
        import_and_verify(self._stage, documents, wanted)

    def publish(self, digest: str, names: Mapping[str, str | None]) -> None:
        """Point names to an experiment that was imported."""
        publish_names(self._stage, digest, names)

    def open(self, digest: str, name: str) -> Experiment | None:
        """Open an experiment, or return None where the name does not point to it any more."""
        return load_named(name, digest)
