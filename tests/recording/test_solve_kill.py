"""What a solve was about to do outlives `kill -9`; a solve that ends is recorded as ever."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ommx
import pytest
from ommx.artifact import gc
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import current_run, flow, instance_digest, load_experiment, task
from ommx_prefect._recovery.recover import recover
from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.solvers import solve
from tests.support.reading import run_flow
from tests.support.solving import SLOW_SCRIPT, slow_instance, slow_qubo
from tests.support.tiers import some

pytestmark = pytest.mark.usefixtures("server")

# What is called in the flow of a process that is killed -> parameters of its Run, and its state.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "solve with HiGHS": (
        'solve("highs", instance, time_limit_seconds=120, seed=3, options={"presolve": "off"})',
        {
            "instance": "slow",
            "instance_digest": instance_digest(slow_instance()),
            "adapter": "OMMXHighsAdapter",
            "sense": "maximize",
            "time_limit_seconds": 120.0,
            "seed": 3,
            "option.presolve": "off",
        },
    ),
    "solve with SCIP": (
        'solve("scip", instance, mip_gap=1e-9)',
        {"adapter": "OMMXPySCIPOptAdapter", "mip_gap": 1e-9},
    ),
    "sample": (
        'sample("openjij", slow_qubo(), num_reads=50_000_000)',
        {"adapter": "OMMXOpenJijSAAdapter", "option.num_reads": 50_000_000},
    ),
    "log_solve": ("logged(instance)", {"adapter": "OMMXHighsAdapter", "when": "now"}),
}


def killed_in_a_solve(script: Path, call: str) -> tuple[str, int]:
    """Kill a process when its solver has run for a moment; return the flow run's id."""
    process = subprocess.Popen(
        [sys.executable, str(script), call], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    flow_run_id = next(x for x in process.stdout if x.startswith("flow run")).split()[-1]
    files = CheckpointFiles(LocalStage(flow_run_id))
    while not files.attempts():
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1.2)
    gc(delete=True, grace_period="1s")
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    return flow_run_id, process.pid


def recovered(flow_run_id: str) -> Experiment:
    found = [each.flow_run_id for each in recover(min_age_seconds=0, mark_crashed=True)]
    assert flow_run_id in found
    return load_experiment(flow_run_id)


@pytest.mark.parametrize("name", some(CALLS, {"solve with HiGHS"}))
def test_kill_9_in_a_solve_leaves_the_instance_and_every_parameter(tmp_path, name):
    call, parameters = CALLS[name]
    script = tmp_path / "solving.py"
    script.write_text(SLOW_SCRIPT)
    flow_run_id, pid = killed_in_a_solve(script, call)
    experiment = recovered(flow_run_id)
    [run] = experiment.runs
    assert run.status == "interrupted"
    assert str(pid) in run.lifecycle_reason
    assert "its solver was started at" in run.lifecycle_reason
    [row] = experiment.run_parameters_df().to_dict("records")
    assert {key: row.get(key) for key in parameters} == parameters
    made = slow_qubo() if "qubo" in call else slow_instance()
    assert instance_digest(run.get_instance("instance")) == instance_digest(made)
    assert run.get_instance("instance").title == made.title


@task
def logged(instance):
    return current_run().log_solve(OMMXHighsAdapter, instance)


def small() -> ommx.Instance:
    x = ommx.DecisionVariable.binary(0, name=uuid.uuid4().hex)
    return ommx.Instance.from_components(
        decision_variables=[x], objective=x, constraints={}, sense=ommx.Sense.Minimize
    )


@pytest.mark.parametrize("call", [lambda x: solve("highs", x, seed=1), logged])
def test_a_solve_that_ends_is_recorded_as_ever_and_its_instance_stored_once(call: Callable):
    instance = small()

    @flow
    def night():
        call(instance)

    sealed = run_flow(night)
    [run] = sealed.runs
    assert set(run.attachment_names) <= {"output", "solver.log", "trajectory"}
    assert "option" not in " ".join(sealed.experiment.run_parameters_df())
    [solved] = run.solves
    assert instance_digest(solved.input) == instance_digest(instance)
    artifact = sealed.experiment.artifact
    layers = [x.digest for x in artifact.layers if x.media_type.endswith(".instance")]
    assert len(layers) == 1
    assert blob_path(layers[0]).exists()


@task(retries=1)
def failing_after_a_solve(instance):
    logged_here = current_run()
    logged_here.log_parameter("adapter", "mine")
    logged_here.log_solve(OMMXHighsAdapter, instance)
    raise ValueError("after")


def test_an_attempt_that_fails_keeps_its_own_words():
    @flow
    def night():
        failing_after_a_solve(small(), return_state=True)

    sealed = run_flow(night)
    assert sealed.column("adapter") == ["mine", "mine"]
    assert [run.attachment_names for run in sealed.runs] == [[], []]
