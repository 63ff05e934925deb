"""One task for each way an attempt can end, and the flows that run them all under any task runner.

The contract suite (test_runners.py) imports this file and starts it as a script; workers import it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from prefect.runtime import task_run
from prefect.states import Completed, Failed

from ommx_prefect import current_run, flow, task


class Unheard:
    """A value that Prefect takes everywhere, and no codec."""


@task
def ok(x):
    current_run().log_parameter("logged", x)
    return x


@task
def raises():
    raise ValueError("no such plant")


@task
def returns_failed():
    return Failed(message="the solver gave up")


@task(retries=1)
def second_time_lucky():
    if task_run.run_count == 1:
        raise RuntimeError("the first attempt")
    return "ok"


@task(timeout_seconds=0.5)
def too_slow():
    for _ in range(200):
        time.sleep(0.05)


@task(persist_result=True, cache_key_fn=lambda _, arguments: arguments["key"])
def costly(key):
    return {"key": key}


@task
def no_codec():
    return Unheard()


@task
def inner(x):
    return x + 1


@task
def outer(x):
    return inner(x) + sum(inner.map([x, x]).result())


@task
def mapped(x):
    return x


TASKS = (ok, raises, returns_failed, second_time_lucky, too_slow, costly, no_codec, outer, inner)


@flow(experiment="ghcr.io/acme/outcomes:{flow_run.name}")
def every_outcome(key: str, delay: bool = False):
    """Run every task; `delay` runs them in the background, where a process serves them."""

    def start(each, *args):
        return each.delay(*args) if delay else each.submit(*args)

    futures = [start(each) for each in (raises, returns_failed, second_time_lucky, too_slow)]
    futures += [start(ok, 1), start(no_codec), start(outer, 2)]
    for _ in range(2):
        start(costly, key).wait()
    futures += [] if delay else mapped.map([1, 2, 3])
    for future in futures:
        future.wait()
    return Completed()


@task
def dies_once(marker, then):
    """Be killed with the process; executed again, end as told."""
    current_run().log_parameter("pid", os.getpid())
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "raises":
        raise ValueError("the second execution")
    return then


@task(retries=1)
def dies_in_its_second_attempt(marker):
    current_run().log_parameter("pid", os.getpid())
    if Path(marker).exists():
        return "the second execution"
    if task_run.run_count == 1:
        raise RuntimeError("the first attempt")
    Path(marker).touch()
    os.kill(os.getpid(), signal.SIGKILL)


@flow(experiment="ghcr.io/acme/killed:{flow_run.name}")
def with_a_kill(folder: str, then: str = "returns"):
    before = ok.submit(1)
    before.wait()
    task_runs = [dies_once.submit(f"{folder}/once", then)]
    for future in task_runs:
        future.wait()
    return Completed()


@flow(experiment="ghcr.io/acme/killed:{flow_run.name}")
def with_a_kill_in_a_retry(folder: str):
    dies_in_its_second_attempt.submit(f"{folder}/twice").wait()
    return Completed()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        every_outcome.serve(name="served")
    else:
        from prefect.task_worker import serve

        serve(*TASKS)
