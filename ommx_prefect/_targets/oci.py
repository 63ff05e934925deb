"""Store and publish an experiment in an OCI registry that already has its payload.

What travels is the documents: manifest, config and run parameters, the ledger, and small payload,
which came with its record. Any other payload that the repository of the experiment's name lacks is
mounted from the stage's repository. Where the registry refuses that, or this host alone has it, it
is pushed from here.

What is verified before the shards are let go: that the documents decode to exactly the records
that were composed; that the repository has every payload under its digest (which the registry
checked when it came) with the size that the manifest tells; and that the documents which the
registry gives back are these, byte for byte. Payload is not read again, and `ommx` opens the
experiment for the first time where somebody loads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from ommx.experiment import Experiment

from ommx_prefect._format.compose import Composition, difference
from ommx_prefect._format.decode import check_blob, descriptor_of, manifest_of, parameters_layer
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor, Documents
from ommx_prefect._oci.names import check_manifest_size, layers_of, split_name
from ommx_prefect._oci.repository import Repository
from ommx_prefect._registry.blobs import read_checked
from ommx_prefect._registry.names import drop_name, earlier_name, find, load_named
from ommx_prefect._shards.archive import payload_layers
from ommx_prefect._stages.address import split_stage
from ommx_prefect._stages.oci_access import open_repository, translated
from ommx_prefect._stages.oci_manifests import MOST_WHOLE_BYTES
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.store import READERS
from ommx_prefect._targets.local import import_scratch, publish_names
from ommx_prefect.exceptions import DocumentError, ManifestTooLargeError


class OciTarget:
    """The repository of an image name, in the registry in which a stage is.

    Args:
        stage: The stage whose experiment it is.
        image_name: The name of the experiment.
    """

    def __init__(self, stage: Stage, image_name: str) -> None:
        self._stage = stage
        self._path = split_name(image_name).repository
        self.target_stage = stage.name
        self._lacks = False

    def find(self, name: str) -> str | None:
        """Return the manifest digest that a name of this repository points to, or None."""
        with translated(self._stage.name, f"look {name} up"):
            return self._repository.find_manifest(split_name(name).tag)

    def tags(self) -> list[str]:
        """Return the tags of this repository, sorted."""
        with translated(self._stage.name, f"list the tags of {self._path}"):
            return self._repository.tags()

    def manifest(self, tag: str) -> bytes:
        """Fetch the manifest that a tag of this repository points to."""
        with translated(self._stage.name, f"read {self._path}:{tag}"):
            return self._repository.get_manifest(tag)

    def holds(self, digest: str) -> bool:
        """Tell whether an experiment was pushed, with a tag or without."""
        with translated(self._stage.name, f"look {digest} up"):
            return self._repository.find_manifest(digest) is not None

    def read(self, digest: str) -> Documents:
        """Fetch the documents of an experiment."""
        with translated(self._stage.name, f"read {digest}"):
            manifest = self._repository.get_manifest(digest)
        document = manifest_of(manifest)
        config = descriptor_of(document["config"])
        parameters = parameters_layer(document)
        return Documents(manifest, self.read_blob(config), self.read_blob(parameters))

    def read_blob(self, layer: Descriptor) -> bytes:
        """Fetch one of its layers."""
        with translated(self._stage.name, f"read {layer.digest}"):
            data = self._repository.get_blob(layer.digest, most_bytes=layer.size)
        check_blob(layer, data)
        return data

    def refusal(self, documents: Documents) -> str:
        """Say that a manifest is too large for a registry; empty if it is not."""
        try:
            check_manifest_size(documents.manifest, layers_of(documents.manifest))
        except ManifestTooLargeError as error:
            return str(error)
        return ""

    def keep(self, layers: Collection[Descriptor]) -> None:
        """Do nothing: the registry keeps payload while the shards name it."""

    def store(self, composition: Composition) -> None:
        """Push an experiment under its digest, with all that it names, and check it there."""
        documents = composition.documents
        if problem := difference(documents, composition.experiment, composition.columns):
            raise DocumentError(f"the composed experiment reads back differently: {problem}")
        with translated(self._stage.name, "compose the experiment there"):
            with ThreadPoolExecutor(READERS, "ommx-prefect-supply") as pool:
                list(pool.map(self._supply, payload_layers(documents)))
            self._push(documents)
        if self.read(documents.digest) != documents:
            raise DocumentError(f"the registry gives other documents back for {documents.digest}")

    def publish(self, digest: str, names: Mapping[str, str | None]) -> None:
        """Point tags to an experiment that was pushed; what this host knew of them is stale."""
        with translated(self._stage.name, f"publish {digest}"):
            manifest = self._repository.get_manifest(digest)
            for name in names:
                self._repository.put_manifest(split_name(name).tag, manifest, MANIFEST_MEDIA_TYPE)
        for name in names:
            if find(name) not in (None, digest):
                drop_name(name)

    def open(self, digest: str, name: str, *, moves: bool = True) -> Experiment | None:
        """Pull an experiment into the Local Registry, unless it is there, and open it.

        Args:
            digest: The digest of its manifest.
            name: Its name there; None is returned where that points to another one by now.
            moves: Whether a name that points to another experiment here is moved. If not, that
                stays, and this one gets a name of ours.
        """
        if find(name) != digest:
            if self.find(name) != digest:
                return None
            name = name if moves or find(name) is None else earlier_name(digest)
            documents = self.read(digest)
            with self._stage.locked():
                self._stage.pin_sealed(documents)  # nothing leaves this host
                import_scratch(self._stage, documents)
                publish_names(self._stage, digest, {name: find(name)})
                self._stage.discard(())
        return load_named(name, digest)

    @property
    def _repository(self) -> Repository:
        return open_repository(self._stage.name, self._path)

    def _supply(self, layer: Descriptor) -> None:
        """Mount or push a payload, unless the repository has it; check its size.

        Small payload came with its record, and is sent from here. Other payload is asked for until
        one is missing: those of a new experiment all are.
        """
        repository, where = self._repository, split_stage(self._stage.name)
        here = self._stage.pinned(layer.digest)
        if layer.size <= MOST_WHOLE_BYTES and here.exists():
            data = read_checked(here, layer.digest)
            check_blob(layer, data)
            repository.push_blob(data, layer.digest, ask=False)
            return
        is_asked = self._path == where.repository or not self._lacks
        if is_asked and repository.has_blob(layer.digest, layer.size):
            return
        self._lacks = True
        if self._path == where.repository or not repository.mount_blob(
            layer.digest, where.repository
        ):
            repository.push_blob(self._stage.bring(layer.digest, layer.size), layer.digest)
        if not repository.has_blob(layer.digest, layer.size):
            raise DocumentError(f"the registry has lost the payload {layer.digest}")

    def _push(self, documents: Documents) -> None:
        document = manifest_of(documents.manifest)
        config, table = descriptor_of(document["config"]), parameters_layer(document)
        self._repository.push_blob(documents.config, config.digest)
        self._repository.push_blob(documents.parameters, table.digest)
        self._repository.put_manifest(documents.digest, documents.manifest, MANIFEST_MEDIA_TYPE)
