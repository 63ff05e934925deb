"""A solve in another process than its flow's body ends with its flow, and keeps its solution."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from prefect.exceptions import CancelledRun

from ommx_prefect import load_experiment
from ommx_prefect._flowrun import interruptions
from ommx_prefect._flowrun.interruptions import interruption_elsewhere, interruption_noted
from ommx_prefect._prefect.states import InterruptedElsewhere
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.testing._scene import attempt_of, new_id
from tests.support.killed_solves import incumbents


@pytest.mark.server
def test_an_interruption_is_known_in_other_processes_and_is_none_of_a_retry(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    flow_run = new_id()
    with pytest.raises(KeyboardInterrupt), interruption_noted(flow_run, 1):
        raise KeyboardInterrupt
    code = (
        "from ommx_prefect._flowrun.interruptions import interruption_elsewhere as told\n"
        f"print(told({flow_run!r}, 1)); print(told({flow_run!r}, 2))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    why = "KeyboardInterrupt: it was ended by SIGINT, as by Ctrl-C"
    assert printed.splitlines() == [f"the flow run was interrupted ({why})", "None"]


def test_what_was_noted_long_ago_goes_and_what_others_left_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old, new = new_id(), new_id()
    for flow_run in (old, new):
        with pytest.raises(KeyboardInterrupt), interruption_noted(flow_run, 1):
            raise KeyboardInterrupt
        if flow_run == old:
            os.utime(interruptions._file(old, 1), (1_600_000_000, 1_600_000_000))
    assert interruption_elsewhere(old, 1) is None
    assert interruption_elsewhere(new, 1) is not None
    (tmp_path / "target").write_text("a text")
    interruptions._file(old, 2).symlink_to(tmp_path / "target")
    assert interruption_elsewhere(old, 2) is None


def test_the_process_of_a_pool_raises_an_error_and_its_run_is_interrupted():
    attempt = replace(attempt_of(new_id(), 1), pid=os.getpid())
    recording = Recording(attempt, RecordingOptions(), {})
    with pytest.raises(CancelledRun, match="the flow run was interrupted"), recording:
        raise InterruptedElsewhere("the flow run was interrupted")
    (shard,) = LocalStage(attempt.root_flow_run_id).shards()
    assert shard.status == "interrupted"
    assert shard.parameters["prefect.state"] == "Failed"


SCRIPT = """
from prefect.runtime import flow_run
from prefect.task_runners import ProcessPoolTaskRunner
from ommx_prefect import flow
from ommx_prefect.solvers import solve
from tests.support.solving import slow_instance

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def night():
    print("flow run", flow_run.id, flush=True)
    given = {"checkpoint_seconds": 0.5, "time_limit_seconds": 90, "threads": 1}
    solve.submit("highs", slow_instance(), **given).result()

if __name__ == "__main__":
    night()
"""


@pytest.mark.usefixtures("server")
def test_a_flow_that_is_stopped_stops_the_solves_of_its_process_pool(tmp_path):
    script = tmp_path / "pooled.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(x for x in process.stdout if x.startswith("flow run"))
        flow_run_id = line.split()[-1]
        while not dict(incumbents(flow_run_id)):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.wait(240)
    experiment = load_experiment(flow_run_id)
    [run] = experiment.runs
    assert (run.status, run.solves[0].status) == ("interrupted", "interrupted")
    why = "TerminationSignal: the process was told to end by signal 15"
    assert f"the flow run was interrupted ({why})" in run.lifecycle_reason
    assert run.get_solution("incumbent").feasible
