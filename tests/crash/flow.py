"""The flows that the crash suite kills; each keeps a journal that is none of the package's."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run, task_run
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import current_run, flow, task

STEP_SECONDS = 0.03
LONG_STEP_SECONDS = 0.3
NAME = "ghcr.io/acme/crash:{flow_run.name}"
# A registry of a test, and nobody's disk to fill: both come from the suite.
PUSHED_NAME = os.environ.get("CRASH_PUSHED_NAME", NAME)


class Journal:
    """Lines that are on the disk before the next statement runs."""

    def __init__(self, path):
        self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, *words):
        os.write(self.file, (" ".join(map(str, words)) + "\n").encode())
        os.fsync(self.file)


def _begin(path):
    journal = Journal(path)
    journal.write("flow", flow_run.id, os.getpid())
    return journal


def _work(x, path, seconds):
    Journal(path).write("began", x, task_run.id, os.getpid())
    current_run().log_parameter("step", x)
    time.sleep(seconds)
    return {"x": x}


@task
def step(x, path):
    return _work(x, path, STEP_SECONDS)


@task
def long_step(x, path):
    return _work(x, path, LONG_STEP_SECONDS)


@task(persist_result=True)
def kept_step(x, path):
    return _work(x, path, STEP_SECONDS)


@task(timeout_seconds=2)
def too_slow(x, path):
    return _work(x, path, 10)


def _steps(path, steps):
    journal = _begin(path)
    for x in range(steps):
        step(x, path)
        journal.write("ended", x, "finished")
    return journal


def _submitted_steps(path, steps):
    """A step is `ended` once its future has given its result."""
    journal = _begin(path)
    futures = [long_step.submit(x, path) for x in range(steps)]
    for x, future in enumerate(futures):
        future.result()
        journal.write("ended", x, "finished")


@flow(experiment=NAME)
def one_by_one(path: str, steps: int = 400):
    """A step is `ended` once its call has returned: the next statement says so."""
    _steps(path, steps)


@flow(experiment=NAME, task_runner=ProcessPoolTaskRunner(2))
def in_a_pool(path: str, steps: int = 12):
    _submitted_steps(path, steps)


@flow(experiment=NAME)
def with_a_task_timeout(path: str):
    journal = _steps(path, 5)
    try:
        too_slow(5, path)
    finally:
        journal.write("ended", 5, "failed")


@flow(experiment=NAME, timeout_seconds=3)
def with_a_flow_timeout(path: str):
    _steps(path, 400)


@flow(experiment=NAME)
def short(path: str, steps: int = 60):
    _steps(path, steps)


@flow(experiment=PUSHED_NAME, push=True)
def pushed(path: str, steps: int = 60):
    """Each step has an output of its own, so that the push takes a while."""
    _steps(path, steps)


@flow(experiment=NAME)
def suspended(path: str, steps: int = 60):
    """Suspends itself once; what ended before is persisted, and Prefect does not run it again."""
    journal = _begin(path)
    for x in range(10):
        kept_step(x, path)
        journal.write("ended", x, "finished")
    if not Path(path).with_suffix(".suspended").exists():
        Path(path).with_suffix(".suspended").touch()
        suspend_flow_run(timeout=600)
    for x in range(10, steps):
        step(x, path)
        journal.write("ended", x, "finished")


def in_dask(path):
    from prefect_dask import DaskTaskRunner

    cluster = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    _with_runner(DaskTaskRunner(cluster_kwargs=cluster))(path)


def in_ray(path):
    from prefect_ray import RayTaskRunner

    options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    _with_runner(RayTaskRunner(init_kwargs=options))(path)


def _with_runner(runner):
    return in_a_pool.with_options(task_runner=runner)


if __name__ == "__main__":
    name, path = sys.argv[1:]
    if name == "serve":
        one_by_one.serve(name="crash")
    elif name == "serve-suspended":
        suspended.serve(name="crash")
    else:
        globals()[name](path)
