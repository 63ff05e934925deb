"""Processes that end before, while and after a flow run is sealed."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid

import prefect
import pytest
from prefect.client.orchestration import get_client

from ommx_prefect import (
    exceptions,
    flow,
    load_experiment,
    seal,
    task,
)
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.local import LocalStage
from tests.support.reading import run_flow
from tests.support.stage_tasks import note
from tests.support.started import start_script, until
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server")


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


@pytest.mark.parametrize("number", [signal.SIGTERM, *full(signal.SIGINT)])
def test_a_signal_interrupts_the_attempt_and_seals(tmp_path, number):
    process, line = start_script(tmp_path, SCRIPT)
    flow_run_id = line.split()[1]
    process.send_signal(number)
    process.wait(240)
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "interrupted"
    assert [run.status for run in experiment.runs] == ["finished", "interrupted"]


def test_a_killed_script_is_sealed_by_hand_once_prefect_knows(tmp_path):
    process, line = start_script(tmp_path, SCRIPT)
    flow_run_id = line.split()[1]
    process.kill()
    process.wait(240)
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), Crashed(message="killed"), force=True)
    assert seal(flow_run_id).counts == {"finished": 1, "interrupted": 1}
    reasons = [run.lifecycle_reason for run in load_experiment(flow_run_id).runs]
    assert str(process.pid) in reasons[1]


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
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=True
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
    flow_run_ids: queue.SimpleQueue[str] = queue.SimpleQueue()

    @task
    def waits():
        late.wait(240)
        return 5

    @flow
    def one():
        flow_run_ids.put(str(prefect.runtime.flow_run.id))
        waits.submit()

    def seal_meanwhile():
        flow_run_id = flow_run_ids.get(timeout=240)

        def ask():
            if any(attempt.task == "waits" for attempt in LocalStage(flow_run_id).starts()):
                with contextlib.suppress(exceptions.OmmxPrefectError):
                    return seal_flow_run(flow_run_id, pending_seconds=0)
            return None

        until(ask)
        late.set()

    thread = threading.Thread(target=seal_meanwhile)
    thread.start()
    sealed = run_flow(one)  # its hook waits for the task
    thread.join()
    assert late.is_set()
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].get_json("output") == 5
