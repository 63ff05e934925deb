"""`ommx-prefect recover`: what no hook sealed, and what it must leave alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from dataclasses import asdict

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Crashed, Paused, Suspended

from ommx_prefect import exceptions, flow, load_experiment, task
from ommx_prefect._flowrun.process_record import FlowProcess
from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.recover import recover
from ommx_prefect._shards.process import host_name, process_start
from ommx_prefect._shards.shard import Attempt, Shard
from ommx_prefect._stages.documents import STATE_RECORD
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.roots import stage_root
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")

SCRIPT = """
import sys, time
from ommx_prefect import current_experiment, flow, task
from prefect.runtime import flow_run

@task
def ok(x):
    return x

@task
def wait(x):
    print(flow_run.id, flush=True)
    time.sleep(120)

@flow(experiment="ghcr.io/acme/recovered:{flow_run.name}")
def one():
    current_experiment().log_json("plan", [1, 2])
    ok(1)
    ok(2)
    wait(3)

one()
"""


@pytest.fixture(scope="module", autouse=True)
def _nothing_else_waits():
    """What other tests left unsealed would be found, and fail, here."""
    shutil.rmtree(stage_root(), ignore_errors=True)


@pytest.fixture
def killed(tmp_path):
    """The id of a flow run whose script was killed, and the script's process."""
    process, flow_run_id = _start(tmp_path)
    process.kill()
    process.wait(240)
    return flow_run_id, process.pid


def _start(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def _command(*arguments, **env):
    command = [sys.executable, "-m", "ommx_prefect", *arguments]
    return subprocess.Popen(
        command,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _rows(process):
    """What the command said in JSON, by id."""
    output, errors = process.communicate(timeout=240)
    return {row["owner"]: row for row in json.loads(output or errors)}


def _recover(**how):
    """What `recover` says, by id, in this process: starting one for each call takes seconds."""
    return {row.owner: asdict(row) for row in recover(min_age_seconds=0, **how)}


def _state_of(flow_run_id):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(uuid.UUID(flow_run_id)).state


def _set_state(flow_run_id, state):
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), state, force=True)


def test_a_killed_script_is_recovered_and_prefect_told_on_request(killed):
    flow_run_id, pid = killed
    assert _state_of(flow_run_id).is_running()
    assert _recover(dry_run=True)[flow_run_id]["done"] == "would seal"
    row = _recover()[flow_run_id]
    assert (row["done"], row["ended"], row["open"]) == ("sealed", 2, 1)
    assert str(pid) in row["why"]
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "interrupted"
    assert [run.status for run in experiment.runs] == ["finished", "finished", "interrupted"]
    assert experiment.get_json("plan") == [1, 2]
    assert experiment.run_parameters_df()["x"].tolist() == [1, 2, 3]
    assert _state_of(flow_run_id).is_running()
    assert flow_run_id not in _recover()  # nothing waits any more
    assert "Prefect was told" in _recover(mark_crashed=True)[flow_run_id]["why"]
    assert _state_of(flow_run_id).is_crashed()
    assert flow_run_id not in _recover(mark_crashed=True)
    assert [run.status for run in load_experiment(flow_run_id).runs].count("interrupted") == 1


def test_two_recoveries_at_once_agree(killed):
    flow_run_id, _ = killed
    both = [_command("recover", "--json", "--min-age", "0") for _ in range(2)]
    rows = [_rows(process).get(flow_run_id) for process in both]
    digests = {row["sealed"]["manifest_digest"] for row in rows if row}
    assert len(digests) == 1
    assert [process.returncode for process in both] == [0, 0]
    assert len(load_experiment(flow_run_id).runs) == 3


def test_a_flow_that_runs_is_left_alone_and_seals_itself(tmp_path):
    process, flow_run_id = _start(tmp_path)
    row = _recover()[flow_run_id]
    assert row["done"] == "waits"
    assert f"process {process.pid}" in row["why"]
    with pytest.raises(exceptions.NotSealedError):
        load_experiment(flow_run_id)
    process.send_signal(signal.SIGTERM)
    recovery = _command("recover", "--json", "--min-age", "0")  # beside the hook
    process.wait(240)
    _rows(recovery)
    experiment = load_experiment(flow_run_id)
    assert [run.status for run in experiment.runs] == ["finished", "finished", "interrupted"]


def test_what_is_younger_than_the_minimum_age_is_left_alone(killed):
    flow_run_id, _ = killed
    rows = _rows(_command("recover", "--json"))
    assert rows[flow_run_id]["done"] == "waits"
    assert "was touched" in rows[flow_run_id]["why"]


@pytest.mark.parametrize("state", [Paused(), Suspended(), AwaitingRetry()], ids=lambda x: x.name)
def test_what_is_to_go_on_is_left_alone(killed, state):
    flow_run_id, _ = killed
    _set_state(flow_run_id, state)
    assert _recover()[flow_run_id]["done"] == "waits"
    _set_state(flow_run_id, Crashed(message="told by hand"))
    assert _recover()[flow_run_id]["done"] == "sealed"
    assert LocalStage(flow_run_id).has(STATE_RECORD)


def test_a_flow_run_of_another_machine_is_left_alone(killed):
    flow_run_id, _ = killed
    stage = LocalStage(flow_run_id)
    stage.write("process.json", vars(FlowProcess("another-host", 1, "1")))
    row = _recover()[flow_run_id]
    assert (row["done"], "another-host" in row["why"]) == ("waits", True)
    stage.remove("process.json")  # as earlier releases left it
    assert _recover()[flow_run_id]["done"] == "waits"
    done = _command("seal", flow_run_id, "--interrupted")
    assert "restore_from_checkpoint" in done.communicate(timeout=240)[0]
    assert load_experiment(flow_run_id).status == "interrupted"


def test_without_the_api_only_what_needs_no_asking_is_sealed(killed):
    flow_run_id, _ = killed
    told = _unsealed_flow_run_with_its_end()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
        process = _command("recover", "--json", "--min-age", "0", PREFECT_API_URL=nowhere)
        rows = _rows(process)
    assert process.returncode == 1
    assert rows[flow_run_id]["done"] == "failed"
    assert nowhere in rows[flow_run_id]["why"]
    assert rows[told]["done"] == "sealed"
    assert load_experiment(told).status == "failed"
    assert _recover()[flow_run_id]["done"] == "sealed"


def _unsealed_flow_run_with_its_end():
    """A stage as a hook leaves it that was killed before it sealed."""
    attempt = _attempt(owner=str(uuid.uuid4()))
    stage = LocalStage(attempt.owner)
    stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    stage.write(STATE_RECORD, {"status": "failed", "state": "Failed", "reason": "it failed"})
    return attempt.owner


def _attempt(owner, *, task_run_id=None, flow_run_id=None, pid=0, start="1", host=None):
    return Attempt(
        owner=owner,
        flow_run_id=owner if flow_run_id is None else flow_run_id,
        flow_attempt=1,
        task_run_id=task_run_id or str(uuid.uuid4()),
        task="work",
        task_run="work-0",
        attempt=1,
        nonce="abc",
        started_at=time.time(),
        host=host or host_name(),
        pid=pid or 2**22 - 1,
        process_start=start,
    )


def test_a_flow_run_that_prefect_does_not_know_is_for_a_person_to_decide():
    owner = str(uuid.uuid4())
    attempt = _attempt(owner)
    LocalStage(owner).put(Shard(attempt, "finished", parameters=attempt.parameters("Done", 1.0)))
    process = _command("recover", "--json", "--min-age", "0")
    row = _rows(process)[owner]
    assert (row["done"], process.returncode) == ("failed", 1)
    assert f"ommx-prefect seal {owner} --interrupted" in row["why"]
    seal_by_hand(owner, interrupted=True)
    assert [run.status for run in load_experiment(owner).runs] == ["finished"]
    assert owner not in _recover()


@pytest.mark.parametrize("ended", [True, False])
def test_a_task_run_outside_flows_is_recovered(ended):
    owner = str(uuid.uuid4())
    attempt = _attempt(owner, task_run_id=owner, flow_run_id="")
    stage = LocalStage(owner)
    stage.begin(attempt)
    if ended:
        stage.put(Shard(attempt, "failed", "it failed", attempt.parameters("Failed", 1.0)))
    row = _recover()[owner]
    assert row["done"] == "sealed"
    experiment = load_experiment(owner)
    assert experiment.status == ("failed" if ended else "interrupted")
    assert [run.status for run in experiment.runs] == [experiment.status]
    assert owner not in _recover()


def test_a_task_run_outside_flows_whose_record_is_lost_has_the_status_of_its_state():
    import prefect

    @prefect.task
    def work():
        return 1

    owner = str(work(return_state=True).state_details.task_run_id)
    _wait_until_known(owner)
    LocalStage(owner).begin(_attempt(owner, task_run_id=owner, flow_run_id=""))
    assert _recover()[owner]["done"] == "sealed"
    experiment = load_experiment(owner)
    assert (experiment.status, [x.status for x in experiment.runs]) == ("finished", ["finished"])
    assert experiment.run_parameters_df()["prefect.state"].tolist() == ["Completed"]
    assert "record is lost" in experiment.annotations["org.ommx-prefect.degraded"]


def _wait_until_known(task_run_id):
    deadline = time.monotonic() + 240
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(ObjectNotFound):
                state = client.read_task_run(uuid.UUID(task_run_id)).state
                if state is not None and state.is_final():
                    return
            time.sleep(0.2)
    raise TimeoutError(task_run_id)


def test_a_task_run_outside_flows_that_runs_is_left_alone():
    owner = str(uuid.uuid4())
    here = {"pid": os.getpid(), "start": process_start(os.getpid())}
    LocalStage(owner).begin(_attempt(owner, task_run_id=owner, flow_run_id="", **here))
    assert _recover()[owner]["done"] == "waits"
    LocalStage(owner).discard_starts([_attempt(owner, task_run_id=owner).key])


def test_recorded_tasks_under_a_plain_flow_are_sealed_when_it_has_ended():
    import prefect

    @task
    def work(x):
        return x

    @prefect.flow
    def plain():
        return work(1)

    flow_run_id = str(plain(return_state=True).state_details.flow_run_id)
    row = _recover()[flow_run_id]
    assert (row["done"], row["sealed"]["status"]) == ("sealed", "finished")
    assert load_experiment(flow_run_id).runs[0].get_json("output") == 1


def test_a_damaged_shard_stops_nobody_else(killed):
    flow_run_id, _ = killed
    damaged = LocalStage(str(uuid.uuid4())).path / "shards" / "broken"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"broken")
    process = _command("recover", "--json", "--min-age", "0")
    rows = _rows(process)
    damaged.unlink()
    assert rows[flow_run_id]["done"] == "sealed"
    assert "cannot be read" in rows[damaged.parents[1].name]["why"]
    assert process.returncode == 1


def test_the_process_of_a_flow_run_is_noted_at_each_start():
    @flow
    def one():
        from prefect.runtime import flow_run

        return json.loads((LocalStage(flow_run.id).path / "process.json").read_text())

    found = run_flow(one).state.result()
    assert found.pop("digest").startswith("sha256:")
    assert found == {
        "format": 2,
        "host": host_name(),
        "pid": os.getpid(),
        "process_start": process_start(os.getpid()),
    }


def test_a_shard_that_comes_after_its_attempt_was_called_cut_off_takes_its_place():
    attempt = None

    @flow
    def one():
        from prefect.runtime import flow_run

        nonlocal attempt
        attempt = _attempt(flow_run.id, host="another-host")
        LocalStage(flow_run.id).begin(attempt)

    sealed = run_flow(one)
    assert sealed.statuses == ["interrupted"]
    parameters = attempt.parameters("Completed", 1.0)
    LocalStage(sealed.flow_run_id).put(Shard(attempt, "finished", parameters=parameters))
    assert _recover()[sealed.flow_run_id]["done"] == "sealed"
    assert [run.status for run in load_experiment(sealed.flow_run_id).runs] == ["finished"]


def test_a_damaged_end_of_one_flow_run_is_named_and_holds_up_no_other():
    found = []
    for text in ("{}", None):
        stage = LocalStage(str(uuid.uuid4()))
        attempt = _attempt(stage.owner, host="another-host")
        stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
        if text is not None:
            (stage.path / STATE_RECORD).write_text(text)
        found.append(stage.owner)
    try:
        rows = {row.owner: row for row in recover(min_age_seconds=0, dry_run=True)}
    finally:  # other tests recover this registry, too
        for owner in found:
            shutil.rmtree(LocalStage(owner).path)
    damaged, other = (rows[owner] for owner in found)
    assert damaged.done == "failed"
    assert STATE_RECORD in damaged.why
    assert other.done != "failed" or STATE_RECORD not in other.why


def test_status_and_help_and_wrong_durations_speak_to_people(killed):
    flow_run_id, _ = killed
    output, _ = _command("status", "--min-age", "0").communicate(timeout=240)
    assert flow_run_id in output
    assert "would seal" in output
    refused = _command("recover", "--min-age", "soon")
    assert "is no duration" in refused.communicate(timeout=240)[1]
    assert refused.returncode == 2
    done = _command("recover", "--min-age", "0")
    assert flow_run_id in done.communicate(timeout=240)[0]


def test_seal_says_what_is_wrong_with_an_id():
    unknown = str(uuid.uuid4())
    nowhere = _command("seal", unknown)
    assert "is in the Local Registry" in nowhere.communicate(timeout=240)[1]
    assert nowhere.returncode == 1
    wrong = _command("seal", "nonsense")
    assert "UUID" in wrong.communicate(timeout=240)[1]
    assert wrong.returncode == 2
