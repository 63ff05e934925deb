"""A colleague who gives things of his own, in the registry of a stage, the names of others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ommx_prefect._format.decode import manifest_of
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._registry.blobs import blob_path, read_documents
from ommx_prefect._stages.documents import FLOW_RECORD, write_document
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_groups import group_manifest, new_group
from ommx_prefect._stages.oci_manifests import tag_of
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.signing import Signer
from ommx_prefect.testing._scene import Host, attempt_of, flow_record, new_id
from tests.security.fuzzing.scenes import small
from tests.security.scene import FAILED, FINISHED, seal_now, sealed_here
from tests.support.folder_registry import folder_registry

pytestmark = pytest.mark.usefixtures("no_credentials")


@pytest.mark.parametrize("end", [FINISHED, FAILED], ids=["finished", "failed"])
def test_a_planted_flow_record_moves_no_tag_of_another_flow_in_the_registry(tmp_path, end):
    with folder_registry(tmp_path / "oci") as host:
        stage, name = f"oci://{host}/acme/shards", f"{host}/acme/payroll:one"
        mine = sealed_here(new_id(), image_name=f"registry.example/acme/{new_id()}:one",
                           flow="payroll")  # fmt: skip
        manifest = read_documents(mine.manifest_digest).manifest
        with Repository(host, "acme/payroll") as there:
            document = manifest_of(manifest)
            for layer in (document["config"], *document["layers"]):
                there.push_blob(blob_path(layer["digest"]), layer["digest"])
            for tag in ("one", "latest"):
                there.put_manifest(tag, manifest, MANIFEST_MEDIA_TYPE)
        flow_run_id = new_id()
        worker = Host(tmp_path / "worker", flow_run_id, OciStore(stage))
        planted = replace(
            flow_record(flow_run_id),
            stage=stage,
            image_name=name,
            replace=True,
            flow="payroll",
            push=True,
        )
        write_document(worker.stage, FLOW_RECORD, planted)
        worker.stage.put(small("chosen", attempt_of(flow_run_id), "finished"))
        sealed = seal_now(SharedStage(LocalStage(flow_run_id), OciStore(stage)), end)
    tags = tmp_path / "oci/acme/payroll/manifests"
    for tag in ("one", "latest"):
        assert digest_of((tags / tag).read_bytes()) == mine.manifest_digest
    assert sealed.remote_name != name or not sealed.pushed
    assert sealed.counts == {"finished": 1}


@pytest.mark.parametrize("key", [b"", b"a key that only our hosts have"], ids=["", "signed"])
def test_a_group_hides_no_record_that_is_there_by_itself(tmp_path, key):
    """Who may push, and delete nothing, would else keep a record out of its experiment."""
    with folder_registry(tmp_path / "oci") as host:
        stage, flow_run_id = f"oci://{host}/acme/shards", new_id()
        worker = Host(tmp_path / "worker", flow_run_id, OciStore(stage, lambda: Signer(key)))
        write_document(worker.stage, FLOW_RECORD, flow_record(flow_run_id))
        shard = small("output", attempt_of(flow_run_id), "finished")
        assert worker.stage.put(shard) is None
        group, other = new_group(flow_run_id), small("chosen", shard.attempt, "finished")
        planted = {f"{flow_run_id}/shards/{shard.attempt.key}": other.to_bytes()}
        (tmp_path / "oci/acme/shards/manifests" / tag_of(group)).write_bytes(
            group_manifest(group, planted)
        )
        sealing = Host(tmp_path / "sealing", flow_run_id, OciStore(stage, lambda: Signer(key)))
        sealing.stage.collect(())
        assert sealing.stage.shards() == [shard.bare]
        sealing.stage.release()
    left = [
        x.name for x in (tmp_path / "oci/acme/shards/manifests").iterdir() if flow_run_id in x.name
    ]
    assert left == []
