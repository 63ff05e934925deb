"""Whole stages to be changed: a flow run of every kind of record, waiting in each kind of place.

    <folder>/registry/   the Local Registry of the host that seals, and what waits beside it
    <folder>/worker/     that of the host that recorded, where it is another one
    <folder>/shared/     a shared disk
    <folder>/oci/        an OCI registry (see `folder_registry`)
    <folder>/outside/    what nobody may touch

OMMX fixes its registry once per process, so recording and sealing are those of two processes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem

from ommx_prefect import load_experiment
from ommx_prefect._format.encode import encode
from ommx_prefect._format.model import (
    Attachments,
    Documents,
    ExperimentRecord,
    RunRecord,
    describe,
)
from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages import oci_gathering
from ommx_prefect._stages.archive_store import ArchiveStore
from ommx_prefect._stages.block_store import FolderStore
from ommx_prefect._stages.checkpoints import NUMBER, CheckpointFiles
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    PARTS,
    ROLLED_BACK,
    STATE_RECORD,
    SUBFLOWS,
    End,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.oci_gathering import settle
from ommx_prefect._stages.oci_store import OciStore
from ommx_prefect._stages.shared import SharedStage
from ommx_prefect._stages.signing import Signer
from ommx_prefect._stages.store import ShardStore
from ommx_prefect.testing._scene import attempt_of, documents_of, flow_record, new_id

DISK = "local-file-system/shared"
REPOSITORY = "acme/shards"
IN_REGISTRY, FOLDER = f"oci://HOST/{REPOSITORY}", f"oci/{REPOSITORY}"
Runs = dict[str, list[Any]]
# Of the attempts; those without one left no record of their end.
STATUSES = ("finished", "finished", "failed", "finished", "", "")


@dataclass(frozen=True)
class Place:
    """Where a stage is.

    Attributes:
        name: What it is called here.
        stage: The stage, as a flow takes it; `HOST` in it is the registry's `host:port`.
        shared: The folder of what hosts share, below the scene's; empty for a local stage.
        image: The registry of the experiment's name.
        is_extended: Whether half of it was sealed before.
        together: So many attempts that ended are put together; none where it is 0.
        key: What signs the records.
    """

    name: str
    stage: str
    shared: str = ""
    image: str = "registry.example"
    is_extended: bool = False
    together: int = 0
    key: bytes = b""


KEY = b"a key that only our hosts have"
PLACES = {
    place.name: place
    for place in (
        Place("local", "local"),
        Place("local, sealed before", "local", is_extended=True),
        Place("disk", DISK, "shared"),
        Place("disk, signed", DISK, "shared", key=KEY),
        Place("oci", IN_REGISTRY, FOLDER),
        Place("oci, in groups", IN_REGISTRY, FOLDER, together=2),
        Place("oci, in groups, signed", IN_REGISTRY, FOLDER, together=2, key=KEY),
        Place("oci, composed there", IN_REGISTRY, FOLDER, "HOST"),
        Place("oci, composed, in groups", IN_REGISTRY, FOLDER, "HOST", together=2),
    )
}


@dataclass(frozen=True)
class Scene:
    """A place in its folder, with one flow run that waits in it.

    Attributes:
        folder: The folder.
        place: The place.
        flow_run_id: The flow run.
        host: The `host:port` of the OCI registry.
    """

    folder: Path
    place: Place
    flow_run_id: str
    host: str

    @property
    def stage(self) -> str:
        return self.place.stage.replace("HOST", self.host)

    @property
    def own(self) -> Path:
        """The folder of the flow run on the host that seals."""
        return self.folder / "registry" / "ommx-prefect" / self.flow_run_id

    @property
    def shared(self) -> Path:
        return self.folder / self.place.shared

    def store(self) -> ShardStore:
        signer = Signer(self.place.key)
        if self.stage != DISK:
            return OciStore(self.stage, lambda: signer)
        block = LocalFileSystem(basepath=str(self.folder / "shared"))
        return ArchiveStore(DISK, lambda: FolderStore(DISK, block), signer=lambda: signer)


def small(text: str, attempt: Any, status: str) -> Shard:
    """A shard with its payload in itself."""
    data = json.dumps(text).encode()
    layer = describe("application/json", data)
    record = RunRecord("finished", None, Attachments({"payload": layer}))
    documents: Documents = encode(ExperimentRecord("finished", (record,)))
    reason = None if status == "finished" else "boom"
    return Shard(
        attempt, status, reason, {"objective": 2.5}, ("a note",), documents, {layer.digest: data}
    )


def record_flow_run(scene: Scene) -> None:
    """Record a flow run of every kind of record, as the hosts of the scene do."""
    oci_gathering.TOGETHER = scene.place.together or 1000
    stage = _stage_that_records(scene)
    other = scene.place.image.replace("HOST", scene.host)
    record = replace(
        flow_record(scene.flow_run_id), stage=scene.stage, image_name=f"{other}/acme/night:one"
    )
    write_document(stage, FLOW_RECORD, record)
    attempts = [attempt_of(scene.flow_run_id, number) for number in range(len(STATUSES))]
    for attempt, status in zip(attempts, STATUSES, strict=True):
        stage.begin(attempt)
        if status:
            stage.put(_shard_of(attempt, status))
        if scene.place.is_extended and attempt is attempts[1]:
            write_document(stage, STATE_RECORD, End("failed", "Failed", "boom"))
            seal_by_hand(scene.flow_run_id)
    _checkpoint(stage, attempts[-1])
    stage.put(small("of the flow body", replace(attempt_of(scene.flow_run_id, 9), task_run_id=""),
                    "finished"), PARTS)  # fmt: skip
    stage.write(f"{ROLLED_BACK}/{new_id()}", {})
    sub = new_id()
    part = replace(record, flow_run_id=sub, image_name="")
    write_document(stage, f"{SUBFLOWS}/{sub}", part)
    settle()


def _stage_that_records(scene: Scene) -> Any:
    if scene.place.stage == "local":
        return LocalStage(scene.flow_run_id)
    return SharedStage(LocalStage(scene.flow_run_id), scene.store())


def _shard_of(attempt: Any, status: str) -> Shard:
    number = int(attempt.started_at)
    if number == 0:
        big = documents_of([attempt.key, "x" * 300_000])
        return Shard(attempt, status, parameters={"objective": 1.5}, documents=big)
    if number == 3:
        return Shard(attempt, status, None, {"objective": float("inf")}, ("nothing was stored",))
    return small(attempt.key, attempt, status)


def _checkpoint(stage: Any, attempt: Any) -> None:
    taken = small(attempt.key, attempt, "interrupted")
    parameters = {NUMBER: 3, "announced": "[]"}
    checkpoint = replace(taken, parameters=parameters, payload={}, reason="the last of 3")
    CheckpointFiles(stage).put(checkpoint, taken.payload)
    stage.share_checkpoint(checkpoint)


def prepare_host(scene: Scene) -> None:
    """Let the host that seals know how the flow run ended, and have things of its own."""
    outside = scene.folder / "outside"
    outside.mkdir()
    (outside / "thesis.tex").write_text("all of it")
    write_document(LocalStage(scene.flow_run_id), STATE_RECORD, End("finished", "Completed", None))
    other = LocalStage(new_id())
    write_document(other, FLOW_RECORD, replace(flow_record(other.flow_run_id), stage="local",
                   image_name="registry.example/acme/payroll:one", flow="payroll"))  # fmt: skip
    other.put(small("salaries", attempt_of(other.flow_run_id), "finished"))
    write_document(other, STATE_RECORD, End("finished", "Completed", None))
    seal_by_hand(other.flow_run_id)


def seal(scene: Scene, *, quarantine: bool = False) -> SealedExperiment:
    """Seal the flow run, as `ommx-prefect seal` does."""
    stage = scene.stage if scene.place.shared else None
    return seal_by_hand(scene.flow_run_id, stage=stage, quarantine=quarantine)


def runs_in(scene: Scene) -> Runs:
    """Read what is sealed, by OMMX: status, reason, payload and parameters of each Run by key."""
    experiment = load_experiment(scene.flow_run_id)
    frame = experiment.run_parameters_df()
    keys = [run["key"] for run in experiment.get_json("ledger")["runs"]]
    assert len(set(keys)) == len(keys), "a Run is there twice"
    return {key: _run_of(run, frame) for key, run in zip(keys, experiment.runs, strict=True)}


def _run_of(run: Any, frame: Any) -> list[Any]:
    payload = None
    if "payload" in run.attachment_names:  # whoever may write to a stage may give it any type
        payload = json.loads(run.get_blob("payload"))
    cells = frame.loc[run.run_id].dropna()
    parameters = {name: str(cells[name]) for name in cells.index}
    return [run.status, run.lifecycle_reason, payload, parameters]
