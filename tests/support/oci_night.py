"""A flow run whose records are in an OCI registry: its worker, and hosts that seal it."""

from __future__ import annotations

import uuid

from ommx_prefect._stages import oci_gathering
from ommx_prefect._stages.documents import FLOW_RECORD, write_document
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.signing import Signer
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id
from tests.security.fuzzing.scenes import small


class Night:
    """One flow run of a worker, in a place, and hosts that seal it."""

    def __init__(self, place, tmp_path, key=b""):
        self.place, self.folder, self.flow_run_id = place, tmp_path, new_id()
        self.worker = self.host("worker", key)
        self.shards = []
        write_document(self.worker.stage, FLOW_RECORD, flow_record(self.flow_run_id))

    def host(self, name, key=b""):
        store = OciStore(self.place.stage, lambda: Signer(key))
        return Host(self.folder / name, self.flow_run_id, store)

    def record(self, *numbers):
        for number in numbers:
            attempt = attempt_of(self.flow_run_id, number)
            self.worker.stage.begin(attempt)
            self.shards.append(small(f"output {number}", attempt, "finished"))
            assert self.worker.stage.put(self.shards[-1]) is None
            oci_gathering.settle()

    def collected(self, key=b""):
        sealing = self.host(f"seal-{uuid.uuid4().hex}", key)
        sealing.stage.collect(())
        return sealing

    def kinds(self):
        """How many tags there are of each kind."""
        kinds = [name.split("/")[1] for name in self.place.objects(self.flow_run_id)]
        return {kind: kinds.count(kind) for kind in kinds}


def bare(shards):
    return [shard.bare for shard in shards]


def manifests_of(place):
    """The folder in which a registry keeps the manifests and tags of a repository."""
    repository = place.stage.partition(place.server.host)[2]
    return place.server.folder / f"data/docker/registry/v2/repositories{repository}/_manifests"


def left_in(place):
    """The manifests that a repository has, tagged or not, and its tags."""
    files = manifests_of(place)
    return {
        path.name
        for folder in ("revisions/sha256", "tags")
        for path in (files / folder).glob("*")
        if any(path.rglob("link"))
    }
