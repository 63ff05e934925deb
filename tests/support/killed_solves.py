"""A solve whose process is killed at any moment, and the retry that goes on from what it left.

The process writes down each better solution as its solver tells of it: what was known at which
time, to hold the checkpoints against.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ommx import Solution
from prefect.runtime import flow_run

from ommx_prefect import flow
from ommx_prefect._format.decode import decode
from ommx_prefect._solver.watch import Watch
from ommx_prefect._stages.checkpoints import CheckpointFiles
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import solve
from tests.support.reading import run_again

PATIENCE = 240


@dataclass(frozen=True)
class Killed:
    """What is known after a kill.

    Attributes:
        durable: The objective of the best solution that is durable; it is minimised.
        first: The objective of the first solution that this solver told of.
        late_seconds: How long before the kill a better one was known that is not durable.
    """

    flow_run_id: str
    durable: float | None
    first: float | None
    late_seconds: float


def killed(folder: Path, path: Path, adapter: str, seconds: float, flow_run_id: str = "") -> Killed:
    """Start a flow, or retry it, and kill its process some time after it has a first solution.

    Args:
        folder: Where the process writes down what it knows.
        path: The instance.
        adapter: The solver.
        seconds: Of the checkpoints.
        flow_run_id: The flow run to be retried; without one a new one.
    """
    truth = folder / f"truth-{time.monotonic_ns()}"
    command = [sys.executable, "-m", __name__, str(truth), str(path), adapter, str(seconds)]
    process = subprocess.Popen(
        [*command, flow_run_id], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        flow_run_id = _begun(process, truth)
        time.sleep(random.uniform(0, 4 * seconds))
    finally:
        process.send_signal(signal.SIGKILL)
        at = time.time()
    assert process.wait(60) == -signal.SIGKILL
    return _judged(flow_run_id, at, process.pid, list(_lines(truth)))


def _begun(process: subprocess.Popen[str], truth: Path) -> str:
    """Wait until the solver has told of a solution; return the id of the flow run."""
    assert process.stdout is not None
    flow_run_id = next(x for x in process.stdout if x.startswith("flow run")).split()[-1]
    until = time.monotonic() + PATIENCE
    while not truth.exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return flow_run_id


def _lines(truth: Path) -> Iterator[tuple[float, float]]:
    for line in truth.read_text().splitlines():
        moment, objective = json.loads(line)
        yield moment, objective


def _judged(flow_run_id: str, at: float, pid: int, known: list[tuple[float, float]]) -> Killed:
    found = dict(incumbents(flow_run_id))
    durable = min(found.values(), default=None)
    own = found.get(pid)
    better = [moment for moment, x in known if own is None or x < own - 1e-6 * abs(own)]
    late = at - better[0] if better else 0.0
    return Killed(flow_run_id, durable, known[0][1] if known else None, late)


def incumbents(flow_run_id: str) -> Iterator[tuple[int, float]]:
    """Yield process and objective of each incumbent that waits in a stage."""
    files = CheckpointFiles(LocalStage(flow_run_id))
    for attempt in files.attempts():
        record = files.record(attempt.key)
        assert record is not None
        assert record.documents is not None
        [run] = decode(record.documents).runs
        if layer := run.attachments.entries.get("incumbent"):
            payload = files.payload(attempt.key, layer.digest).read_bytes()
            solution = Solution.from_v2_bytes(payload)
            assert solution.feasible
            assert run.parameters["objective"] == solution.objective
            yield attempt.pid, float(solution.objective)


@flow(name="killed", experiment="localhost/tests/killed")
def night(path: str, adapter: str, seconds: float) -> None:
    """Solve for longer than anybody waits."""
    print("flow run", flow_run.id, flush=True)
    instance = load_instance(path).instance
    solve(adapter, instance, checkpoint_seconds=seconds, resume=True, threads=1)


def main(truth: str, path: str, adapter: str, seconds: str, flow_run_id: str) -> None:
    """Run the flow, or retry it, and write down what its solver tells."""
    progress = Watch.progress

    def told(self: Watch, now: float, primal: float, dual: float, nodes: int, **new: bool) -> None:
        progress(self, now, primal, dual, nodes, **new)
        if new.get("is_new"):
            with open(truth, "a") as file:
                file.write(json.dumps([time.time(), primal]) + "\n")

    Watch.progress = told  # type: ignore[method-assign, assignment]
    given = {"path": path, "adapter": adapter, "seconds": float(seconds)}
    if flow_run_id:
        run_again(night, flow_run_id, **given)
    else:
        night(**given)


if __name__ == "__main__":
    main(*sys.argv[1:])
