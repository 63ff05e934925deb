"""The flows that the crash suite kills; each keeps a journal that is none of the package's."""

from __future__ import annotations

import os
import sys
import time

from prefect.runtime import flow_run
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import current_run, flow, task

STEP_SECONDS = 0.03


class Journal:
    """Lines that are on the disk before the next statement runs."""

    def __init__(self, path):
        self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, *words):
        os.write(self.file, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(self.file)


@task
def step(x):
    current_run().log_parameter("x", x)
    time.sleep(STEP_SECONDS)
    return x


@task
def pool_step(x, path):
    current_run().log_parameter("x", x)
    Journal(path).write("pool", os.getpid())
    time.sleep(0.3)
    return x


@task(timeout_seconds=0.5)
def too_slow(x):
    current_run().log_parameter("x", x)
    time.sleep(5)


def _begin(path):
    journal = Journal(path)
    journal.write("flow", flow_run.id, os.getpid())
    return journal


@flow(experiment="ghcr.io/acme/crash:{flow_run.name}")
def one_by_one(path: str, steps: int = 400):
    """A step is `ended` once its call has returned: the next statement says so."""
    journal = _begin(path)
    for x in range(steps):
        step(x)
        journal.write("ended", x, "finished")


@flow(experiment="ghcr.io/acme/crash:{flow_run.name}", task_runner=ProcessPoolTaskRunner(2))
def in_a_pool(path: str, steps: int = 12):
    """A step is `ended` once its future has given its result."""
    journal = _begin(path)
    futures = [pool_step.submit(x, path) for x in range(steps)]
    for x, future in enumerate(futures):
        future.result()
        journal.write("ended", x, "finished")


@flow(experiment="ghcr.io/acme/crash:{flow_run.name}")
def with_a_task_timeout(path: str):
    journal = _begin(path)
    for x in range(5):
        step(x)
        journal.write("ended", x, "finished")
    try:
        too_slow(5)
    finally:
        journal.write("ended", 5, "failed")


@flow(experiment="ghcr.io/acme/crash:{flow_run.name}", timeout_seconds=3)
def with_a_flow_timeout(path: str):
    journal = _begin(path)
    for x in range(400):
        step(x)
        journal.write("ended", x, "finished")


if __name__ == "__main__":
    name, path = sys.argv[1:]
    if name == "serve":
        one_by_one.serve(name="crash")
    else:
        globals()[name](path)
