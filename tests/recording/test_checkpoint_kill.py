"""A solve that is killed, at any moment, leaves what it had checkpointed last."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
import uuid

import pytest
from ommx.artifact import gc
from ommx.experiment import Experiment
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from ommx_prefect import (
    codecs,
    load_experiment,
    seal,
)
from ommx_prefect._format.decode import decode
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from tests.support.started import until
from tests.support.tiers import full

server = pytest.mark.usefixtures("server")

SOLVING = """
import random, sys, threading, time
import ommx
from ommx_highs_adapter import OMMXHighsAdapter
from ommx_pyscipopt_adapter import OMMXPySCIPOptAdapter
from prefect.runtime import flow_run
from pyscipopt import SCIP_EVENTTYPE, Eventhdlr
from ommx_prefect import checkpoint, current_run, flow, task

def knapsack(items):
    draw = random.Random(1).randint
    x = [ommx.DecisionVariable.binary(i) for i in range(items)]
    capacities = {j: sum(draw(5, 100) * v for v in x) <= 20 * items for j in range(8)}
    return ommx.Instance.from_components(
        decision_variables=x, objective=sum(draw(5, 100) * v for v in x),
        constraints=capacities, sense=ommx.Sense.Maximize,
    )

class Incumbents:
    def __init__(self, instance):
        self.instance, self.count = instance, 0

    def found(self, entries, gap):
        solution = self.instance.evaluate(entries)
        self.count += 1
        checkpoint(incumbent=solution, state=ommx.State(entries), gap=gap, found=self.count)
        if self.count == 3:
            print("checkpointed", flow_run.id, solution.objective, gap, flush=True)
            time.sleep(60)

def with_highs(instance, incumbents):
    with current_run().open_solve(OMMXHighsAdapter, instance) as solve:
        columns = {i: v.index for i, v in solve.adapter.highs_vars.items()}
        def improved(event):
            x = event.data_out.mip_solution
            incumbents.found({i: x[c] for i, c in columns.items()}, event.data_out.mip_gap)
        solve.solver_input.cbMipImprovingSolution += improved
        solve.solver_input.run()

class Improved(Eventhdlr):
    def eventinit(self):
        self.model.catchEvent(SCIP_EVENTTYPE.BESTSOLFOUND, self)
    def eventexec(self, event):
        best = self.model.getBestSol()
        x = {int(name): self.model.getSolVal(best, v) for name, v in self.columns.items()}
        self.incumbents.found(x, self.model.getGap())

def with_scip(instance, incumbents):
    with current_run().open_solve(OMMXPySCIPOptAdapter, instance) as solve:
        handler = Improved()
        handler.columns, handler.incumbents = solve.adapter.varname_map, incumbents
        solve.solver_input.includeEventhdlr(handler, "improved", "checkpoints")
        solve.solver_input.optimize()

@task
def long_solve(items, solver):
    instance = knapsack(items)
    {"highs": with_highs, "scip": with_scip}[solver](instance, Incumbents(instance))

@flow
def one(solver):
    long_solve(60, solver)

one(sys.argv[1])
"""


def _known(client: SyncPrefectClient, task_run_id: uuid.UUID) -> object | None:
    """Return the task run once Prefect knows of it, which an event tells it."""
    try:
        return client.read_task_run(task_run_id)
    except ObjectNotFound:
        return None


def _sealed_after_kill(process: subprocess.Popen[str], flow_run_id: str) -> Experiment:
    with get_client(sync_client=True) as client:
        begun = [uuid.UUID(attempt.task_run_id) for attempt in LocalStage(flow_run_id).starts()]
        for task_run_id in begun:
            until(lambda known=task_run_id: _known(client, known))
        process.kill()
        process.wait(240)
        killed = Crashed(message="killed")
        for task_run_id in begun:
            client.set_task_run_state(task_run_id, killed, force=True)
        client.set_flow_run_state(uuid.UUID(flow_run_id), killed, force=True)
    seal(flow_run_id)
    return load_experiment(flow_run_id)


@server
@pytest.mark.parametrize("solver", ["highs", *full("scip")])
def test_incumbents_outlive_kill_9_in_the_middle_of_a_solve_and_a_gc(tmp_path, solver):
    script = tmp_path / "solving.py"
    script.write_text(textwrap.dedent(SOLVING))
    process = subprocess.Popen(
        [sys.executable, str(script), solver], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("checkpointed"))
    _, flow_run_id, objective, gap = line.split()
    time.sleep(1.2)
    gc(delete=True, grace_period="1s")
    experiment = _sealed_after_kill(process, flow_run_id)
    run = experiment.runs[0]
    assert run.status == "interrupted"
    assert str(process.pid) in run.lifecycle_reason
    assert "the last of its 3 checkpoints" in run.lifecycle_reason
    solution = run.get_solution("incumbent")
    assert solution.feasible
    assert solution.objective == float(objective)
    assert run.get_with_codec(codecs.StateCodec, "state").entries == solution.state.entries
    row = experiment.run_parameters_df().iloc[0]
    assert (row["gap"], row["found"], row["items"], row["solver"]) == (float(gap), 3, 60, solver)


ENDLESS = """
import itertools, sys
import numpy as np
from ommx_prefect._recording.checkpoint_values import Checkpoints
from ommx_prefect._values.secrets import Redactor
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.local import LocalStage

attempt = Attempt(sys.argv[1], "f", 1, "t", "task", "task-0", 1, "n", 1.0, "host", 1)
checkpoints = Checkpoints(LocalStage(attempt.root_flow_run_id), attempt)
for number in itertools.count():
    checkpoints.save({"number": number, "array": np.full(20000, number)}, Redactor({}))
    print(number, flush=True)
"""


@pytest.mark.server
@pytest.mark.parametrize("milliseconds", [30, *full(1)])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_no_older_than_the_last_return(milliseconds):
    stage = LocalStage(f"endless-{uuid.uuid4()}")
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, stage.flow_run_id], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(milliseconds / 1000)
    process.kill()
    returned = [first, *process.stdout]
    process.wait(240)
    [attempt] = CheckpointFiles(stage).attempts()
    shard = CheckpointFiles(stage).take([attempt.key])[attempt.key]
    run = decode(shard.documents).runs[0]
    whole = [line for line in returned if line.endswith("\n")]
    assert run.parameters["number"] >= int(whole[-1])
    digest = run.attachments.entries["array"].digest.removeprefix("sha256:")
    data = (stage.path / "blobs" / "sha256" / digest).read_bytes()
    assert set(codecs.NumpyCodec.decode(data)) == {run.parameters["number"]}
