"""Store and publish an experiment in the Local Registry of this machine.

It is imported under a name of ours, opened with `ommx`, and compared with what it was made of.
Only then does the user's name move, and only after that are the shards let go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ommx.experiment import Experiment

from ommx_prefect._format.compose import Composition
from ommx_prefect._format.model import Descriptor, Documents, ExperimentRecord
from ommx_prefect._registry.blobs import blob_path, read_blob, read_documents
from ommx_prefect._registry.intake import import_layout
from ommx_prefect._registry.names import drop_name, find, load_named, move_names, sealing_name
from ommx_prefect._stages.protocol import Stage
from ommx_prefect.exceptions import DocumentError


class LocalTarget:
    """The Local Registry, which takes every experiment.

    Args:
        stage: The stage whose experiment it is.
    """

    target_stage = ""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def find(self, name: str) -> str | None:
        """Return the manifest digest that an image name points to, or None."""
        return find(name)

    def holds(self, digest: str) -> bool:
        """Tell whether the Local Registry has an experiment."""
        return blob_path(digest).exists()

    def read(self, digest: str) -> Documents:
        """Read the documents of an experiment."""
        return read_documents(digest)

    def read_blob(self, layer: Descriptor) -> bytes:
        """Read one of its layers."""
        return read_blob(layer.digest)

    def refusal(self, documents: Documents) -> str:
        """Return nothing: the Local Registry takes every experiment."""
        return ""

    def keep(self, layers: Collection[Descriptor]) -> None:
        """Link or copy payload into the stage, from which it is imported."""
        self._stage.pin(layers)

    def store(self, composition: Composition) -> None:
        """Import an experiment, and check what `ommx` reads."""
        import_and_verify(self._stage, composition.documents, composition.experiment)

    def publish(self, digest: str, names: Mapping[str, str | None]) -> None:
        """Point names to an experiment that was imported."""
        publish_names(self._stage, digest, names)

    def open(self, digest: str, name: str) -> Experiment | None:
        """Open an experiment, or return None where the name does not point to it any more."""
        return load_named(name, digest)


def import_and_verify(stage: Stage, documents: Documents, wanted: ExperimentRecord) -> None:
    """Import documents under a temporary name, and check that `ommx` reads what was meant.

    Raises:
        DocumentError: It reads something else; the shards are kept.
    """
    found = import_scratch(stage, documents)
    if problem := _difference(found, wanted):
        raise DocumentError(f"the composed experiment reads back differently: {problem}")


def import_scratch(stage: Stage, documents: Documents) -> Experiment:
    """Import documents, with the payload that the stage holds, under a temporary name."""
    name = sealing_name(stage.flow_run_id)
    drop_name(name)
    return import_layout(stage.path, documents, name)


def publish_names(stage: Stage, digest: str, names: Mapping[str, str | None]) -> None:
    """Point names to the imported experiment, and remove the temporary name.

    Raises:
        NameMovedError: One does not point any more to what it is said to.
    """
    move_names(digest, names)
    drop_name(sealing_name(stage.flow_run_id))


def _difference(found: Experiment, wanted: ExperimentRecord) -> str:
    """Say how an opened Experiment differs from the records it was made of; empty if not."""
    if (found.status, len(found.runs)) != (wanted.status, len(wanted.runs)):
        return f"{found.status} with {len(found.runs)} Runs"
    if sorted(found.attachment_names) != sorted(wanted.attachments.entries):
        return f"experiment attachments {sorted(found.attachment_names)}"
    for run, record in zip(found.runs, wanted.runs, strict=True):
        if (run.status, run.lifecycle_reason) != (record.status, record.reason):
            return f"Run {run.run_id} is {run.status}: {run.lifecycle_reason}"
        if sorted(run.attachment_names) != sorted(record.attachments.entries):
            return f"Run {run.run_id} has the attachments {sorted(run.attachment_names)}"
        if (len(run.solves), len(run.samplings)) != (len(record.solves), len(record.samplings)):
            return f"Run {run.run_id} has {len(run.solves)} Solves"
    return _difference_of_parameters(found, wanted)


def _difference_of_parameters(found: Experiment, wanted: ExperimentRecord) -> str:
    # NaN is no cell here: whether pandas counts it as missing depends on its version and dtype.
    table = found.run_parameters_df()
    cells = int((table.notna() & (table == table).fillna(False)).sum().sum())
    meant = sum(value == value for run in wanted.runs for value in run.parameters.values())
    return "" if cells == meant else f"{cells} run parameters instead of {meant}"
