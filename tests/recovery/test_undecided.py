"""What recovery cannot decide, or cannot read, it names; it holds up nothing else."""

from __future__ import annotations

import shutil
import socket
import uuid

import pytest

from ommx_prefect import load_experiment
from ommx_prefect._recovery.by_hand import seal_by_hand
from ommx_prefect._recovery.recover import recover
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.documents import STATE_RECORD
from ommx_prefect._stages.local import LocalStage
from tests.recovery.scene import attempt_of, command, recovered, rows_of

pytestmark = pytest.mark.usefixtures("server")


def test_without_the_api_only_what_needs_no_asking_is_sealed(killed):
    flow_run_id, _ = killed
    told = _unsealed_flow_run_with_its_end()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
        process = command("recover", "--json", "--min-age", "0", PREFECT_API_URL=nowhere)
        rows = rows_of(process)
    assert process.returncode == 1
    assert rows[flow_run_id]["done"] == "failed"
    assert nowhere in rows[flow_run_id]["why"]
    assert rows[told]["done"] == "sealed"
    assert load_experiment(told).status == "failed"
    assert recovered()[flow_run_id]["done"] == "sealed"


def _unsealed_flow_run_with_its_end():
    """A stage as a hook leaves it that was killed before it sealed."""
    attempt = attempt_of(root_flow_run_id=str(uuid.uuid4()))
    stage = LocalStage(attempt.root_flow_run_id)
    stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    stage.write(STATE_RECORD, {"status": "failed", "state": "Failed", "reason": "it failed"})
    return attempt.root_flow_run_id


def test_a_flow_run_that_prefect_does_not_know_is_for_a_person_to_decide():
    flow_run_id = str(uuid.uuid4())
    attempt = attempt_of(flow_run_id)
    LocalStage(flow_run_id).put(
        Shard(attempt, "finished", parameters=attempt.parameters("Done", 1.0))
    )
    process = command("recover", "--json", "--min-age", "0")
    row = rows_of(process)[flow_run_id]
    assert (row["done"], process.returncode) == ("failed", 1)
    assert f"ommx-prefect seal {flow_run_id} --interrupted" in row["why"]
    seal_by_hand(flow_run_id, interrupted=True)
    assert [run.status for run in load_experiment(flow_run_id).runs] == ["finished"]
    assert flow_run_id not in recovered()


def test_a_damaged_shard_stops_nobody_else(killed):
    flow_run_id, _ = killed
    damaged = LocalStage(str(uuid.uuid4())).path / "shards" / "broken"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"broken")
    process = command("recover", "--json", "--min-age", "0")
    rows = rows_of(process)
    damaged.unlink()
    assert rows[flow_run_id]["done"] == "sealed"
    assert "cannot be read" in rows[damaged.parents[1].name]["why"]
    assert process.returncode == 1


def test_a_damaged_end_of_one_flow_run_is_named_and_holds_up_no_other():
    found = []
    for text in ("{}", None):
        stage = LocalStage(str(uuid.uuid4()))
        attempt = attempt_of(stage.flow_run_id, host="another-host")
        stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
        if text is not None:
            (stage.path / STATE_RECORD).write_text(text)
        found.append(stage.flow_run_id)
    try:
        rows = {row.flow_run_id: row for row in recover(min_age_seconds=0, dry_run=True)}
    finally:  # other tests recover this registry, too
        for flow_run_id in found:
            shutil.rmtree(LocalStage(flow_run_id).path)
    damaged, other = (rows[flow_run_id] for flow_run_id in found)
    assert damaged.done == "failed"
    assert STATE_RECORD in damaged.why
    assert other.done != "failed" or STATE_RECORD not in other.why
