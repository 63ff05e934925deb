"""`ommx-prefect recover`: what no hook sealed, and what it must leave alone."""

from __future__ import annotations

import json
import os
import signal

import pytest
from prefect.states import AwaitingRetry, Crashed, Paused, Suspended

from ommx_prefect import exceptions, flow, load_experiment
from ommx_prefect._flowrun.process_record import FlowProcess
from ommx_prefect._shards.process import host_name, process_start
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.documents import STATE_RECORD
from ommx_prefect._stages.local import LocalStage
from tests.recovery.scene import attempt_of, command, recovered, rows_of, set_state, start, state_of
from tests.support.reading import run_flow
from tests.support.tiers import full

pytestmark = pytest.mark.usefixtures("server")


def test_a_killed_script_is_recovered_and_prefect_told_on_request(killed):
    flow_run_id, pid = killed
    assert state_of(flow_run_id).is_running()
    assert recovered(dry_run=True)[flow_run_id]["done"] == "would seal"
    row = recovered()[flow_run_id]
    assert (row["done"], row["ended"], row["open"]) == ("sealed", 2, 1)
    assert str(pid) in row["why"]
    experiment = load_experiment(flow_run_id)
    assert experiment.status == "interrupted"
    assert [run.status for run in experiment.runs] == ["finished", "finished", "interrupted"]
    assert experiment.get_json("plan") == [1, 2]
    assert experiment.run_parameters_df()["x"].tolist() == [1, 2, 3]
    assert state_of(flow_run_id).is_running()
    assert flow_run_id not in recovered()  # nothing waits any more
    assert "Prefect was told" in recovered(mark_crashed=True)[flow_run_id]["why"]
    assert state_of(flow_run_id).is_crashed()
    assert flow_run_id not in recovered(mark_crashed=True)
    assert [run.status for run in load_experiment(flow_run_id).runs].count("interrupted") == 1


@pytest.mark.full
def test_two_recoveries_at_once_agree(killed):
    flow_run_id, _ = killed
    both = [command("recover", "--json", "--min-age", "0") for _ in range(2)]
    rows = [rows_of(process).get(flow_run_id) for process in both]
    digests = {row["sealed"]["manifest_digest"] for row in rows if row}
    assert len(digests) == 1
    assert [process.returncode for process in both] == [0, 0]
    assert len(load_experiment(flow_run_id).runs) == 3


def test_a_flow_that_runs_is_left_alone_and_seals_itself(tmp_path):
    process, flow_run_id = start(tmp_path)
    row = recovered()[flow_run_id]
    assert row["done"] == "waits"
    assert f"process {process.pid}" in row["why"]
    with pytest.raises(exceptions.NotSealedError):
        load_experiment(flow_run_id)
    process.send_signal(signal.SIGTERM)
    recovery = command("recover", "--json", "--min-age", "0")  # beside the hook
    process.wait(240)
    rows_of(recovery)
    experiment = load_experiment(flow_run_id)
    assert [run.status for run in experiment.runs] == ["finished", "finished", "interrupted"]


def test_what_is_younger_than_the_minimum_age_is_left_alone(killed):
    flow_run_id, _ = killed
    rows = rows_of(command("recover", "--json"))
    assert rows[flow_run_id]["done"] == "waits"
    assert "was touched" in rows[flow_run_id]["why"]
    assert "s ago; --min-age is 600s" in rows[flow_run_id]["why"]


@pytest.mark.parametrize(
    "state", [Paused(), *full(Suspended(), AwaitingRetry())], ids=lambda x: x.name
)
def test_what_is_to_go_on_is_left_alone(killed, state):
    flow_run_id, _ = killed
    set_state(flow_run_id, state)
    assert recovered()[flow_run_id]["done"] == "waits"
    set_state(flow_run_id, Crashed(message="told by hand"))
    assert recovered()[flow_run_id]["done"] == "sealed"
    assert LocalStage(flow_run_id).has(STATE_RECORD)


def test_a_flow_run_of_another_machine_is_left_alone(killed):
    flow_run_id, _ = killed
    stage = LocalStage(flow_run_id)
    stage.write("process.json", vars(FlowProcess("another-host", 1, "1")))
    row = recovered()[flow_run_id]
    assert (row["done"], "another-host" in row["why"]) == ("waits", True)
    stage.remove("process.json")  # as earlier releases left it
    assert recovered()[flow_run_id]["done"] == "waits"
    done = command("seal", flow_run_id, "--interrupted")
    assert "restore_from_checkpoint" in done.communicate(timeout=240)[0]
    assert load_experiment(flow_run_id).status == "interrupted"


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
        attempt = attempt_of(flow_run.id, host="another-host")
        LocalStage(flow_run.id).begin(attempt)

    sealed = run_flow(one)
    assert sealed.statuses == ["interrupted"]
    parameters = attempt.parameters("Completed", 1.0)
    LocalStage(sealed.flow_run_id).put(Shard(attempt, "finished", parameters=parameters))
    assert recovered()[sealed.flow_run_id]["done"] == "sealed"
    assert [run.status for run in load_experiment(sealed.flow_run_id).runs] == ["finished"]
