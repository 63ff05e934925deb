"""Sealing: idempotent, deterministic, verified; what fails keeps its shards and says so."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest
from ommx.experiment import Experiment, list_experiment_checkpoints
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.sorting import ArtifactSort
from prefect.states import AwaitingRetry
from reading import run_flow, sealed_of

from ommx_prefect import (
    _home,
    _publication,
    _seal,
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect import _registry as registry
from ommx_prefect._seal import seal_flow_run
from ommx_prefect._shards import Attempt, Shard
from ommx_prefect._stage import LocalStage, stage_root

pytestmark = pytest.mark.usefixtures("server")


@task(log_inputs=["x"])
def note(x, value=None):
    if value is not None:
        current_run().log_parameter("mixed", value)
    return {"x": x}


def test_a_second_seal_gives_the_same_answer():
    @flow
    def one():
        note.map([1, 2])

    sealed = run_flow(one)
    first, second = seal(sealed.flow_run_id), seal(sealed.flow_run_id)
    assert first == second
    assert first.counts == {"finished": 2}
    assert first.manifest_digest == registry.find(first.image_name)


def test_the_same_shards_give_the_same_digest():
    @flow
    def one():
        for i in range(3):
            note(i)

    kept = {}

    def keep(stage_path):
        kept.update({p: p.read_bytes() for p in stage_path.rglob("*") if p.is_file()})

    original = LocalStage.discard
    LocalStage.discard = lambda self, keys: (keep(self.path), original(self, keys))[1]
    try:
        sealed = run_flow(one)
    finally:
        LocalStage.discard = original
    first = seal(sealed.flow_run_id)
    registry.drop_name(first.image_name)
    for path, data in kept.items():
        if path.name != "sealed.json":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (stage_root() / sealed.flow_run_id / "sealed.json").unlink()
    assert seal(sealed.flow_run_id).manifest_digest == first.manifest_digest


def test_identical_layers_appear_once():
    @flow
    def one():
        for _ in range(5):
            note(7)

    artifact = run_flow(one).experiment.artifact
    digests = [layer.digest for layer in artifact.layers]
    assert len(digests) == len(set(digests))


def test_columns_of_several_types_are_kept_apart_and_reported():
    values = [1, 2.5, "text", True, 2**60 + 1]

    @flow
    def one():
        for i, value in enumerate(values):
            note(i, value)

    sealed = run_flow(one)
    answer = seal(sealed.flow_run_id)
    columns = ["mixed", "mixed:float64", "mixed:string", "mixed:bool"]
    found = [[v for v in sealed.column(c) if v is not None] for c in columns]
    assert found == [[1, 2**60 + 1], [2.5], ["text"], [True]]
    assert any("'mixed' has values of several types" in warning for warning in answer.warnings)
    assert sealed.ledger["split_columns"] == dict.fromkeys(columns[1:], "mixed")


def test_integers_join_floats_where_nothing_is_lost():
    @flow
    def one():
        note(0, 1)
        note(1, 2.5)

    sealed = run_flow(one)
    assert sealed.column("mixed") == [1.0, 2.5]
    assert seal(sealed.flow_run_id).warnings == ()


def test_a_running_flow_is_not_sealed():
    seen = []

    @flow
    def one():
        note(1)
        from prefect.runtime import flow_run

        with pytest.raises(exceptions.FlowRunNotFinishedError) as caught:
            seal(flow_run.id)
        seen.append(str(caught.value))

    run_flow(one)
    assert "has not ended" in seen[0]


def test_an_unknown_flow_run_is_a_clear_error():
    with pytest.raises(exceptions.NotSealedError, match="OMMX_LOCAL_REGISTRY_ROOT"):
        seal(uuid.uuid4())
    with pytest.raises(exceptions.NotSealedError, match="OMMX_LOCAL_REGISTRY_ROOT"):
        load_experiment(uuid.uuid4())


def test_a_damaged_shard_stops_the_seal_and_the_next_one_finishes():
    damaged = {}

    @task
    def damage(flow_run_id):
        """Break the shard of the task before."""
        path = next((stage_root() / flow_run_id / "shards").iterdir())
        damaged[path] = path.read_bytes()
        path.write_bytes(b"broken")

    @flow(experiment="ghcr.io/acme/damaged:1")
    def one():
        from prefect.runtime import flow_run

        note(1)
        damage(flow_run.id)

    state = one(return_state=True)
    flow_run_id = str(state.state_details.flow_run_id)
    assert state.is_completed()
    assert registry.find("ghcr.io/acme/damaged:1") is None
    assert "not sealed" in _summary(flow_run_id).lower()
    for path, data in damaged.items():
        path.write_bytes(data)
    assert seal(flow_run_id).counts == {"finished": 2}
    assert sealed_of(state).runs[0].get_json("output") == {"x": 1}


def test_a_lost_payload_stops_the_seal():
    @task
    def lose(flow_run_id):
        for blob in (stage_root() / flow_run_id / "blobs" / "sha256").iterdir():
            registry.blob_path(blob.name).unlink(missing_ok=True)
            blob.unlink()

    @flow
    def one():
        from prefect.runtime import flow_run

        note(f"payload {uuid.uuid4()}")
        lose(flow_run.id)

    state = one(return_state=True)
    with pytest.raises(exceptions.SealError, match="not sealed"):
        seal(state.state_details.flow_run_id)


def test_ommx_gc_takes_nothing_from_a_running_flow():
    from ommx.artifact import gc

    @task
    def collect():
        time.sleep(1.1)
        gc(delete=True, grace_period="1s")

    @flow
    def one():
        note("kept")
        collect()

    sealed = run_flow(one)
    assert sealed.runs[0].get_json("output") == {"x": "kept"}


def test_a_flow_run_that_is_retried_later_keeps_one_experiment():
    outcome = {"fail": True}

    @flow(experiment="ghcr.io/acme/later:1")
    def one():
        current_experiment().log_json("log", {"fail": outcome["fail"]})
        note(1)
        if outcome["fail"]:
            raise ValueError("first")

    state = one(return_state=True)
    flow_run_id = state.state_details.flow_run_id
    failed = load_experiment(flow_run_id)
    assert failed.status == "failed"
    assert len(failed.runs) == 1

    outcome["fail"] = False
    _run_again(one, flow_run_id)
    experiment = load_experiment(flow_run_id)
    assert experiment.image_name == "ghcr.io/acme/later:1"
    assert experiment.status == "finished"
    assert [run.status for run in experiment.runs] == ["finished", "finished"]
    assert experiment.run_parameters_df()["prefect.flow_attempt"].tolist() == [1, 2]
    assert experiment.get_json("log@1") == {"fail": True}
    names = [ref.requested_image_name for ref in list_experiment_checkpoints()]
    assert "ghcr.io/acme/later:1" not in names


def test_what_comes_after_the_seal_extends_the_experiment():
    @flow
    def one():
        note(1)

    sealed = run_flow(one)
    first = seal(sealed.flow_run_id)
    stage = LocalStage(sealed.flow_run_id)
    attempt = Attempt(
        sealed.flow_run_id, sealed.flow_run_id, 1, str(uuid.uuid4()), "late", "late-0", 1,
        "abc", time.time(), "elsewhere", 1,
    )  # fmt: skip
    stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    second = seal(sealed.flow_run_id)
    assert second.counts == {"finished": 2}
    assert second.image_name == first.image_name
    assert [run.attachment_names for run in load_experiment(sealed.flow_run_id).runs] == [
        ["output"],
        [],
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_a_seal_whose_answer_was_moved_away_is_found_by_its_experiment(fails):
    @flow(experiment=f"ghcr.io/acme/moved-away:{fails}")
    def one():
        note(1)
        if fails:
            raise ValueError("no plan")

    flow_run_id = str(one(return_state=True).state_details.flow_run_id)
    before = seal(flow_run_id)
    stage = LocalStage(flow_run_id)
    stage.remove("sealed.json")
    again = seal(flow_run_id)
    assert (again.image_name, again.manifest_digest) == (before.image_name, before.manifest_digest)
    assert again.counts == {"finished": 1}
    late = Attempt(flow_run_id, flow_run_id, 1, "", "late", "late-0", 1, "a", time.time(), "h", 1)
    stage.put(Shard(late, "finished", parameters=late.parameters("Completed", 1.0)))
    assert seal(flow_run_id).counts == {"finished": 2}


def test_an_attempt_whose_process_is_gone_is_interrupted():
    @flow
    def one():
        from prefect.runtime import flow_run

        note(1)
        attempt = Attempt(
            flow_run.id, flow_run.id, 1, str(uuid.uuid4()), "killed", "killed-0", 1,
            "abc", time.time(), "another-host", 1,
        )  # fmt: skip
        LocalStage(flow_run.id).begin(attempt)

    sealed = run_flow(one)
    assert sealed.statuses == ["finished", "interrupted"]
    assert "another-host" in sealed.runs[1].lifecycle_reason
    assert sealed.experiment.status == "finished"


SCRIPT = """
import os, signal, sys, time
from ommx_prefect import flow, task
from prefect.runtime import flow_run

@task
def ok(x):
    return x

@task
def wait():
    print("waiting", flow_run.id, flush=True)
    time.sleep(60)

@flow(experiment="ghcr.io/acme/signalled:{flow_run.name}")
def one():
    ok(1)
    wait()

one()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_the_attempt_and_seals(tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    flow_run_id = process.stdout.readline().split()[1]
    process.send_signal(number)
    process.wait(60)
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "interrupted"
    assert [run.status for run in experiment.runs] == ["finished", "interrupted"]


def test_a_killed_script_is_sealed_by_hand_once_prefect_knows(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    flow_run_id = process.stdout.readline().split()[1]
    process.kill()
    process.wait(20)
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), Crashed(message="killed"), force=True)
    assert seal(flow_run_id).counts == {"finished": 1, "interrupted": 1}
    reasons = [run.lifecycle_reason for run in load_experiment(flow_run_id).runs]
    assert str(process.pid) in reasons[1]


def test_two_seals_at_once_agree():
    @flow
    def one():
        note.map(list(range(20)))

    sealed = run_flow(one)
    code = f"from ommx_prefect import seal; print(seal({sealed.flow_run_id!r}).manifest_digest)"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    digests = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert digests == {seal(sealed.flow_run_id).manifest_digest}


def test_the_artifact_opens_without_this_package(tmp_path):
    @flow
    def one():
        note(3)

    sealed = run_flow(one)
    archive = tmp_path / "night.ommx"
    sealed.experiment.save(archive)
    code = textwrap.dedent(
        f"""
        import sys
        from ommx.experiment import Experiment
        e = Experiment.import_archive({str(archive)!r})
        assert "ommx_prefect" not in sys.modules and "prefect" not in sys.modules
        print(e.runs[0].get_json("output"), e.status, e.get_json("ledger")["flow_run"]["flow"])
        """
    )
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / "other")}
    output = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "{'x': 3} finished one"


def test_annotations_name_the_flow_run_for_catalogues():
    @flow(name="Nightly plan")
    def one():
        note(1)

    sealed = run_flow(one)
    annotations = Experiment.load(seal(sealed.flow_run_id).image_name).annotations
    assert annotations["org.ommx-prefect.flow-name"] == "Nightly plan"
    assert annotations["org.ommx-prefect.flow-run-id"] == sealed.flow_run_id
    assert annotations["org.ommx-prefect.state"] == "Completed"


def _summary(flow_run_id: str) -> str:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[uuid.UUID(flow_run_id)])
            ),
            sort=ArtifactSort.CREATED_DESC,
            limit=5,
        )
    return str(found[0].data)


def test_stages_are_small_once_sealed():
    @flow
    def one():
        note.map([1, 2, 3])

    stage = Path(stage_root() / run_flow(one).flow_run_id)
    names = {path.name for path in stage.rglob("*") if path.is_file()} - {".lock"}
    assert names == {"flow.json", "process.json", "sealed.json", "state.json"}


def test_a_task_run_name_of_any_text_is_sealed_and_a_warning_shows_its_beginning():
    @task(task_run_name="{x}")
    def odd(x):
        return object()

    @flow
    def one():
        odd("\ud800 lone\n" + "x" * 200)

    sealed = run_flow(one)
    assert sealed.ledger["runs"][0]["task_run"].startswith("\\ud800 lone\n")
    (warning,) = sealed.ledger["warnings"]
    assert warning.startswith("\\ud800 lone… (attempt 1): output (object) is not recorded")


# ---------------------------------------------------------------- when its name has moved on


@task
def one_task(x):
    return x


def _run_again(flow, flow_run_id):
    """Retry a flow run, as the UI does."""
    from prefect.flow_engine import run_flow as run_again

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(str(flow_run_id)), AwaitingRetry(), force=True)
        flow_run = client.read_flow_run(uuid.UUID(str(flow_run_id)))
    with contextlib.suppress(ValueError):
        run_again(flow, flow_run=flow_run)


def test_a_flow_run_whose_name_another_one_replaced_keeps_its_answer_and_takes_nothing_back():
    name = f"ghcr.io/acme/replaced:{uuid.uuid4().hex}"

    @flow(experiment=name, replace=True)
    def nightly(x):
        one_task(x)

    first, second = run_flow(nightly, 1), run_flow(nightly, 2)
    answer = seal(second.flow_run_id)
    assert seal(first.flow_run_id).counts == {"finished": 1}
    assert seal(first.flow_run_id).manifest_digest != answer.manifest_digest
    assert Experiment.load(name).run_parameters_df()["x"].tolist() == [2]
    assert seal(second.flow_run_id) == answer


def test_an_experiment_that_was_removed_is_put_back_while_it_is_held():
    @flow(experiment="ghcr.io/acme/removed:{flow_run.name}")
    def one():
        one_task(1)

    sealed = run_flow(one)
    answer = seal(sealed.flow_run_id)
    registry.drop_name(answer.image_name)
    assert seal(sealed.flow_run_id) == answer
    assert [run.status for run in load_experiment(sealed.flow_run_id).runs] == ["finished"]
    registry.drop_name(answer.image_name)
    registry.blob_path(answer.manifest_digest).unlink()
    with pytest.raises(exceptions.SealError, match=r"was removed, and with it what was recorded"):
        seal(sealed.flow_run_id)


def test_a_flow_run_that_finishes_again_after_a_failed_retry_keeps_its_name():
    ends = iter([None, ValueError("again"), None])

    @flow(experiment="ghcr.io/acme/again:{flow_run.name}")
    def one():
        one_task(1)
        if error := next(ends):
            raise error

    sealed = run_flow(one)
    names = [seal(sealed.flow_run_id).image_name]
    for _ in range(2):
        _run_again(one, sealed.flow_run_id)
        names.append(seal(sealed.flow_run_id).image_name)
    assert len(set(names)) == 1
    assert seal(sealed.flow_run_id).counts == {"finished": 3}
    assert Experiment.load(names[0]).status == "finished"


def test_the_checkpoint_of_another_flow_run_is_not_replaced():
    name = f"ghcr.io/acme/both:{uuid.uuid4().hex}"
    fails = [True]

    @flow(experiment=name)
    def month(x):
        one_task(x)
        if fails[0]:
            raise ValueError("no")

    first, second = run_flow(month, 1), run_flow(month, 2)
    fails[0] = False
    third = run_flow(month, 3)
    for sealed, x in ((first, 1), (second, 2), (third, 3)):
        assert load_experiment(sealed.flow_run_id).run_parameters_df()["x"].tolist() == [x]
    assert Experiment.load(name).run_parameters_df()["x"].tolist() == [3]


@pytest.mark.parametrize("replace", [False, True])
def test_what_comes_late_takes_no_name_back_from_a_later_flow_run(replace):
    night = f"ghcr.io/acme/late-{uuid.uuid4().hex}"
    name = f"{night}:now" if replace else f"{night}:{{flow_run.name}}"

    @flow(experiment=name, replace=replace, aliases=["latest"])
    def nightly(x):
        one_task(x)

    first, second = run_flow(nightly, 1), run_flow(nightly, 2)
    stage = LocalStage(first.flow_run_id)
    attempt = Attempt(
        first.flow_run_id, first.flow_run_id, 1, "", "late", "late", 1, "n", 9e9, "here", 1
    )
    stage.put(Shard(attempt, "finished", None, attempt.parameters("Completed", 1.0)))
    assert seal(first.flow_run_id).counts == {"finished": 2}
    assert len(load_experiment(first.flow_run_id).runs) == 2
    for taken in ("latest", "now")[: 1 + replace]:
        assert Experiment.load(f"{night}:{taken}").run_parameters_df()["x"].tolist() == [2]
    assert load_experiment(second.flow_run_id).run_parameters_df()["x"].tolist() == [2]


@pytest.mark.parametrize("replace", [False, True])
def test_a_seal_that_was_cut_off_takes_no_name_back_when_it_is_finished(replace, monkeypatch):
    night = f"ghcr.io/acme/cut-off-{uuid.uuid4().hex}"
    name = f"{night}:now" if replace else f"{night}:{{flow_run.name}}"

    @flow(experiment=name, replace=replace, aliases=["latest"])
    def nightly(x):
        one_task(x)

    def disk_full(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:  # the names have moved, and nothing is written down
        patch.setattr(_publication, "write_sealed", disk_full)
        first = nightly(1, return_state=True).state_details.flow_run_id
        assert Experiment.load(f"{night}:latest").run_parameters_df()["x"].tolist() == [1]
    second = run_flow(nightly, 2)
    assert seal(first).counts == {"finished": 1}
    assert load_experiment(first).run_parameters_df()["x"].tolist() == [1]
    for taken in ("latest", "now")[: 1 + replace]:
        assert Experiment.load(f"{night}:{taken}").run_parameters_df()["x"].tolist() == [2]
    assert load_experiment(second.flow_run_id).run_parameters_df()["x"].tolist() == [2]


def test_what_a_seal_imports_is_no_experiment_before_it_is_published(monkeypatch):
    @flow
    def one():
        note(1)

    def disk_full(*_):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(_home, "publish_names", disk_full)
        flow_run_id = one(return_state=True).state_details.flow_run_id
        assert registry.find(registry.sealing_name(flow_run_id))
        with pytest.raises(exceptions.NotSealedError):
            load_experiment(flow_run_id)
    assert seal(flow_run_id).counts == {"finished": 1}
    assert len(load_experiment(flow_run_id).runs) == 1


def test_an_experiment_opens_while_its_name_moves(monkeypatch):
    @flow
    def one(x):
        one_task(x)

    first, second = (seal(run_flow(one, x).flow_run_id) for x in (1, 2))
    name = f"ghcr.io/acme/moving:{uuid.uuid4().hex}"
    registry.move_names(first.manifest_digest, {name: None})
    names = {name: first.manifest_digest}
    mover = threading.Thread(target=registry.move_names, args=(second.manifest_digest, names))
    find = registry.find

    def find_and_be_late(wanted):
        found = find(wanted)
        if not mover.ident:
            mover.start()
            mover.join(0.5)
        return found

    monkeypatch.setattr(registry, "find", find_and_be_late)
    experiment = registry.load_named(name, first.manifest_digest)
    mover.join()
    assert experiment.run_parameters_df()["x"].tolist() == [1]
    assert registry.load_named(name, first.manifest_digest) is None


@pytest.mark.parametrize("step", ["aliases_to_move", "publish"])
def test_of_two_flow_runs_that_end_in_the_same_moment_each_has_a_name(step, monkeypatch):
    name = f"ghcr.io/acme/together:{uuid.uuid4().hex}"
    other = {}

    @flow(experiment=name, aliases=["latest"])
    def nightly(x):
        one_task(x)

    def run_other():
        other["state"] = nightly(2, return_state=True)

    go_on = getattr(_seal, step)

    def wait_for_other(*arguments):
        monkeypatch.undo()
        thread = threading.Thread(target=run_other)
        thread.start()
        thread.join()
        return go_on(*arguments)

    monkeypatch.setattr(_seal, step, wait_for_other)
    first = run_flow(nightly, 1)
    second = load_experiment(other["state"].state_details.flow_run_id)
    assert (second.image_name, second.run_parameters_df()["x"].tolist()) == (name, [2])
    assert first.column("x") == [1]
    assert first.experiment.image_name.startswith(f"{name}-")
    assert any("was taken meanwhile" in x for x in first.ledger["warnings"])
    latest = Experiment.load("ghcr.io/acme/together:latest").run_parameters_df()["x"].tolist()
    assert latest == [2]  # it began later
    assert not LocalStage(first.flow_run_id).shards()


SECRETIVE = """
import prefect, sys
from ommx_prefect import task

@task
def one_task(password):
    raise ValueError(f"cannot log in with {password}")

@prefect.flow
def one(password):
    one_task(password)

print(one(password="hunter2-XYZZY", return_state=True).state_details.flow_run_id)
"""


def test_a_seal_by_hand_knows_the_secrets_of_the_flow_run(tmp_path):
    script = tmp_path / "secretive.py"
    script.write_text(SECRETIVE)
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )
    flow_run_id = ran.stdout.split()[-1]
    assert seal(flow_run_id).counts == {"failed": 1}
    assert "cannot log in with **redacted**" in load_experiment(flow_run_id).lifecycle_reason
    texts = [
        path.read_bytes() for path in LocalStage(flow_run_id).path.rglob("*") if path.is_file()
    ]
    assert not any(b"hunter2-XYZZY" in text for text in texts)


def test_a_task_that_ends_after_its_experiment_was_sealed_waits_for_nobody():
    late = threading.Event()

    @task
    def waits():
        late.wait(60)
        return 5

    @flow
    def one():
        waits.submit()

    def seal_meanwhile():
        until = time.monotonic() + 30
        while time.monotonic() < until:
            for stage in (LocalStage(name) for name in os.listdir(stage_root())):
                if any(attempt.task == "waits" for attempt in stage.starts()):
                    with contextlib.suppress(exceptions.OmmxPrefectError):
                        seal_flow_run(stage.owner, pending_seconds=0)
                        late.set()
                        return
            time.sleep(0.2)

    thread = threading.Thread(target=seal_meanwhile)
    thread.start()
    sealed = run_flow(one)  # its hook waits for the task
    thread.join()
    assert late.is_set()
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].get_json("output") == 5
