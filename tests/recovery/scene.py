"""A script that is killed, the commands that find it, and attempts as a hook leaves them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from dataclasses import asdict

from prefect.client.orchestration import get_client

from ommx_prefect._recovery.recover import recover
from ommx_prefect._shards.process import host_name
from ommx_prefect._shards.shard import Attempt
from tests.support.started import start_script

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


def start(tmp_path):
    return start_script(tmp_path, SCRIPT)


def command(*arguments, **env):
    return subprocess.Popen(
        [sys.executable, "-m", "ommx_prefect", *arguments],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(process):
    """What the command said in JSON, by id."""
    output, errors = process.communicate(timeout=240)
    return {row["flow_run_id"]: row for row in json.loads(output or errors)}


def recovered(**how):
    """What `recover` says, by id, in this process: starting one for each call takes seconds."""
    return {row.flow_run_id: asdict(row) for row in recover(min_age_seconds=0, **how)}


def state_of(flow_run_id):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(uuid.UUID(flow_run_id)).state


def set_state(flow_run_id, state):
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(uuid.UUID(flow_run_id), state, force=True)


def attempt_of(
    root_flow_run_id, *, task_run_id=None, flow_run_id=None, pid=0, start="1", host=None
):
    return Attempt(
        root_flow_run_id=root_flow_run_id,
        flow_run_id=root_flow_run_id if flow_run_id is None else flow_run_id,
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
