"""What is announced before a solve is one small record, beside an instance that is stored once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ommx import DecisionVariable, Instance
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import current_run
from ommx_prefect._format.model import RunRecord, sha256_digest
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._sealing.entries import entries_of
from ommx_prefect._sealing.records import read_staged
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.solvers._solve import solve_in
from tests.support.solving import instance_of, slow_instance

KILLED = """
import sys
from ommx_prefect import current_run
from ommx_prefect.solvers._solve import solve_in
from tests.recording.test_announced import recording
from tests.support.solving import slow_instance

with recording(sys.argv[1]):
    solve_in(current_run(), "highs", slow_instance(), limits={"time_limit_seconds": 120, "seed": 3})
"""


@contextmanager
def recording(flow_run_id: str) -> Iterator[Recording]:
    """Record the block as the attempt of a flow run of which Prefect knows nothing."""
    attempt = Attempt(
        flow_run_id, flow_run_id, 1, "t", "task", "task-0", 1, "n", 1.0, "host", os.getpid()
    )
    options = RecordingOptions(True, True, "raise", False)
    with Recording(attempt, options, {}) as found, found.active():
        yield found


def record_of(flow_run_id: str) -> RunRecord:
    stage = LocalStage(flow_run_id)
    staged = read_staged(stage)
    keys = [x.attempt.key for x in staged.shards] + staged.interrupted_keys
    [entry] = entries_of(staged, {}, CheckpointFiles(stage).take(keys))
    return entry.record


def named() -> Instance:
    x = DecisionVariable.binary(0, name=uuid.uuid4().hex)
    return instance_of([x], x)


@pytest.mark.server
def test_a_process_that_is_killed_in_a_solve_leaves_its_input_and_parameters():
    flow_run_id = f"killed-{uuid.uuid4()}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, flow_run_id])
    files = CheckpointFiles(LocalStage(flow_run_id))
    while not files.attempts():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    record = record_of(flow_run_id)
    told: dict[str, Any] = {
        "instance": "slow",
        "adapter": "OMMXHighsAdapter",
        "sense": "maximize",
        "time_limit_seconds": 120.0,
        "seed": 3,
    }
    assert (record.status, told.items() <= record.parameters.items()) == ("interrupted", True)
    assert "its solver was started at" in (record.reason or "")
    layer = record.attachments.entries["instance"]
    data = blob_path(layer.digest).read_bytes()
    assert data == slow_instance().to_v2_bytes() or len(data) == len(slow_instance().to_v2_bytes())
    assert Instance.from_v2_bytes(data).title == "slow"


def test_of_a_solve_that_ends_its_own_record_counts():
    flow_run_id, instance = f"ended-{uuid.uuid4()}", named()
    with recording(flow_run_id):
        solve_in(current_run(), "highs", instance, limits={"seed": 1}, options={"presolve": "off"})
    record = record_of(flow_run_id)
    assert record.attachments.entries.keys() == {"solver.log", "trajectory"}
    assert {"instance", "adapter", "sense", "seed", "outcome"} <= record.parameters.keys()
    assert "option.presolve" not in record.parameters
    links = [x for x in LocalStage(flow_run_id).path.rglob("*") if x.name == digest_of(instance)]
    assert links
    assert all(link.samefile(blob_path(f"sha256:{link.name}")) for link in links)


def digest_of(instance: Instance) -> str:
    return sha256_digest(instance.to_v2_bytes()).removeprefix("sha256:")


def test_the_instance_is_linked_from_the_registry_and_written_there_once():
    flow_run_id, instance = f"linked-{uuid.uuid4()}", named()
    stored = blob_path(f"sha256:{digest_of(instance)}")
    with recording(flow_run_id) as found:
        current_run().log_solve(OMMXHighsAdapter, instance)
        first = stored.stat()
        solve_in(current_run(), "highs", instance, limits={})
        kept = CheckpointFiles(found.record.stage).payload(
            found.attempt.key, f"sha256:{stored.name}"
        )
        assert kept.samefile(stored)
    assert stored.stat().st_ino == first.st_ino


@pytest.mark.parametrize("call", ["open_solve", "solve"])
def test_nothing_is_announced_outside_of_the_recorded_run(call):
    flow_run_id = f"outside-{uuid.uuid4()}"
    with recording(flow_run_id) as found:
        if call == "solve":
            OMMXHighsAdapter.solve(named())
        else:
            with current_run().open_solve(OMMXHighsAdapter, named()) as solve:
                solve.solver_input.run()
                solve.decode(solve.solver_input)
        assert CheckpointFiles(found.record.stage).attempts() == []
