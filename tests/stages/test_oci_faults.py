"""A stage in an OCI registry that loses or changes things, and seals that are cut off there."""

from __future__ import annotations

import json
import shutil

import prefect
import pytest

from ommx_prefect import (
    current_experiment,
    exceptions,
    flow,
    load_experiment,
    seal,
)
from ommx_prefect._oci.repository import Repository
from ommx_prefect._sealing import publish as _publish
from ommx_prefect._stages import oci_manifests, oci_removal, oci_store
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_manifests import RECORD_TYPE, TOMBSTONE_TYPE
from ommx_prefect._targets.oci import OciTarget
from tests.support.images import Elsewhere, read_elsewhere, tags_of
from tests.support.places import RegistryPlace
from tests.support.registry_server import running_registry
from tests.support.stage_tasks import LARGE, lose_here, note, one_night

pytestmark = pytest.mark.usefixtures("server", "no_credentials", "brief_waits")


def test_a_registry_that_deletes_nothing_is_told_once_and_sealed_once(tmp_path, caplog):
    with running_registry(tmp_path / "r", allow_delete=False) as server:
        place = RegistryPlace(server, "acme/shards", f"{server.host}/acme/night:one")
        sealed = one_night(place.stage, place.experiment)
        assert place.objects(sealed.flow_run_id)
        first = seal(sealed.flow_run_id)
        assert first.counts == {"finished": 1}
        requests = server.log.count("PUT")
        assert seal(sealed.flow_run_id) == first
        assert server.log.count("PUT") == requests
        # Another host, which finds all records there, finds what was made of them, too.
        shutil.rmtree(LocalStage(sealed.flow_run_id).path)
        assert seal(sealed.flow_run_id, stage=place.stage) == first
        assert tags_of(place.experiment) == ["one"]
        assert caplog.text.count("does not let anybody delete") == 1
        assert read_elsewhere(place.experiment, tmp_path) == Elsewhere("finished", [{"x": 1}])
        oci_store._without_deletion.clear()


def test_a_payload_that_the_registry_lost_stops_the_seal_by_name(place, tmp_path):
    """Composed in the stage's own repository."""
    repository = place.stage.removeprefix(f"oci://{place.server.host}/")

    @flow(stage=place.stage, experiment=f"{place.server.host}/{repository}:one")
    def night():
        note(LARGE)
        lost = lose_here(place)
        for digest in lost:
            place._ask("DELETE", f"blobs/{digest}")
        return lost

    state = night(return_state=True)
    flow_run_id = state.state_details.flow_run_id
    ((digest, data),) = state.result().items()
    with pytest.raises(exceptions.SealError, match=digest):
        seal(flow_run_id)
    assert any("/shards/" in name for name in place.objects(str(flow_run_id)))
    with Repository(place.server.host, repository) as there:
        there.push_blob(data, digest)
    assert seal(flow_run_id).counts == {"finished": 1}
    assert load_experiment(flow_run_id).runs[0].get_json("output") == {"x": LARGE}
    assert read_elsewhere(f"{place.server.host}/{repository}:one", tmp_path).status == "finished"


def _changed(manifest, change):
    document = json.loads(manifest)
    change(document)
    return json.dumps(document).encode()


def _foreign_config(document):
    document["config"] = document["layers"][0]


# What was done to the manifest of a shard -> what the refusal says.
DAMAGE = {
    "another artifact": (lambda d: d.update(artifactType="application/x"), "and not"),
    "the name of another": (
        lambda d: d["annotations"].update({"org.ommx-prefect.object": "other"}),
        "it is the record of other",
    ),
    "no name": (lambda d: d.pop("annotations"), "it is no record"),
    "a lost layer": (lambda d: d["layers"].pop(), "disagree about the payload"),
    "a config that is no shard": (_foreign_config, "not a shard"),
    "a record in its place": (lambda d: d.update(artifactType=RECORD_TYPE), "not a shard"),
}


@pytest.mark.parametrize("most_inline_bytes", [0, 65_536])
def test_a_manifest_that_is_not_the_shard_is_refused_by_name(place, monkeypatch, most_inline_bytes):
    """As config, as every release wrote a shard, and as an annotation."""
    monkeypatch.setattr(oci_manifests, "MOST_INLINE_BYTES", most_inline_bytes)

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(LARGE)
        objects = place.objects(prefect.runtime.flow_run.id)
        name = next(name for name in objects if "/shards/" in name)
        place.put(name, _changed(objects[name], DAMAGE["no name"][0]))
        return name, objects[name]

    state = night(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    name, manifest = state.result()
    for change, said in DAMAGE.values():
        place.put(name, _changed(manifest, change))
        with pytest.raises(exceptions.SealError, match=said) as caught:
            seal(flow_run_id)
        assert f"{name} in stage '{place.stage}' is refused" in str(caught.value)
    place.put(name, manifest)
    assert seal(flow_run_id).counts == {"finished": 1}


class Cut(BaseException):
    """The process ends here."""


# What is done in this order -> whether the seal is cut off before it or after.
STEPS = {
    "payload": (OciTarget, "_supply", "before"),
    "documents": (OciTarget, "_push", "before"),
    "intent": (_publish, "_take_steps", "before"),
    "names": (OciTarget, "publish", "before"),
    "answer": (_publish, "write_sealed", "before"),
    "let go": (LocalStage, "discard", "before"),
    "let go and": (LocalStage, "discard", "after"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_seal_that_is_cut_off_is_finished_by_the_next(place, monkeypatch, step):
    owner, name, when = STEPS[step]

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        note(1)
        note(2)

    original = getattr(owner, name)

    cuts = []

    def cut(*args, **kwargs):
        if when == "after":
            original(*args, **kwargs)
        cuts.append(step)
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, cut)
        flow_run_id = night(return_state=True).state_details.flow_run_id
    assert cuts
    answer = seal(flow_run_id)
    assert answer.counts == {"finished": 2}
    assert tags_of(place.experiment) == ["one"]
    outputs = [run.get_json("output")["x"] for run in load_experiment(flow_run_id).runs]
    assert outputs == [1, 2]
    assert seal(flow_run_id) == answer
    assert place.objects(str(flow_run_id)) == {}


@pytest.mark.parametrize("most_tags", [0, 300])
def test_a_removal_that_is_cut_off_disturbs_no_later_seal(place, monkeypatch, most_tags):
    """Where there are many, tags are left on a tombstone, which is no record of anything."""
    monkeypatch.setattr(oci_removal, "MOST_TAGS", most_tags)
    deleted = []
    delete = Repository.delete_manifest

    def cut(self, digest):
        if deleted:
            raise Cut
        deleted.append(digest)
        return delete(self, digest)

    @flow(stage=place.stage, experiment=place.experiment)
    def night():
        current_experiment().log_json("plan", [1])
        note(1)

    with monkeypatch.context() as patched:
        patched.setattr(Repository, "delete_manifest", cut)
        flow_run_id = night(return_state=True).state_details.flow_run_id
    left = place.objects(str(flow_run_id))
    assert left
    are_tombs = {json.loads(data)["artifactType"] == TOMBSTONE_TYPE for data in left.values()}
    assert are_tombs == {most_tags == 0}
    answer = seal(flow_run_id)
    assert answer.counts == {"finished": 1}
    assert place.objects(str(flow_run_id)) == {}
