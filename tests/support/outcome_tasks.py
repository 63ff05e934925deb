"""One task for each way an attempt can end, and the flows that run them under any task runner.

The contract suite (decorators/test_runners.py, decorators/test_deployments.py) imports this file,
and starts it as a script; workers import it. What it must lead to is a table in `outcomes`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prefect import flow as plain_flow
from prefect import get_client, serve
from prefect.client.schemas.objects import TaskRun
from prefect.futures import wait
from prefect.runtime import task_run
from prefect.states import Completed, Failed
from prefect.task_worker import serve as serve_tasks

from ommx_prefect import current_run, flow, load_experiment, seal_hooks, task


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
    return inner(x)


@task
def mapped(x):
    return x


@task
def dies_once(marker, then="ends"):
    """Be killed with the process; executed again, end as told."""
    current_run().log_parameter("pid", os.getpid())
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "raises":
        raise ValueError("the second execution")
    return then


@task(retries=1)
def dies_in_its_retry(marker):
    """Be killed in the second attempt; executed again, end in the first."""
    if Path(marker).exists():
        return "executed again"
    if task_run.run_count == 1:
        raise RuntimeError("the first attempt")
    Path(marker).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def _started(each: Any, delay: bool, *arguments: Any) -> Any:
    return each.delay(*arguments) if delay else each.submit(*arguments)


def _await(futures: Iterable[Any], delay: bool) -> None:
    """Wait for futures; those of background tasks miss the event that comes before they listen."""
    if not delay:
        wait(list(futures))
        return
    with get_client(sync_client=True) as client:
        for future in futures:
            while not _is_final(client.read_task_run(future.task_run_id)):
                time.sleep(0.1)


def _is_final(run: TaskRun) -> bool:
    return run.state is not None and run.state.is_final()


@flow(experiment="ghcr.io/acme/outcomes:{flow_run.name}")
def every_outcome(key: str, delay: bool = False):
    """Run every task that kills nobody; with `delay` in the process that serves them."""
    alone = (raises, returns_failed, second_time_lucky, too_slow, no_codec)
    futures = [_started(each, delay) for each in alone]
    futures += [_started(ok, delay, 1), _started(outer, delay, 2)]
    for _ in range(2):
        _await([_started(costly, delay, key)], delay)
    futures += [mapped.delay(x) for x in range(3)] if delay else mapped.map(range(3))
    _await(futures, delay)
    return Completed()


@flow(experiment="ghcr.io/acme/killed:{flow_run.name}")
def with_a_kill(marker: str, then: str = "ends", delay: bool = False):
    """Let a task be killed with its process, after another one has ended."""
    _await([_started(ok, delay, 1)], delay)
    future = _started(dies_once, delay, marker, then)
    while delay and not Path(marker).exists():  # a background task has nobody who does it again
        time.sleep(0.1)
    if not delay:
        _await([future], delay)
    return Completed()


@flow(experiment="ghcr.io/acme/killed:{flow_run.name}")
def with_a_kill_in_a_retry(marker: str):
    dies_in_its_retry.submit(marker).wait()
    return Completed()


@plain_flow(**seal_hooks("ghcr.io/acme/hooked:{flow_run.name}"))
def under_seal_hooks():
    """Record under a plain flow, of which workers learn neither registry nor stage."""
    _await([ok.submit(1), raises.submit()], False)
    return Completed()


TASKS = (ok, raises, returns_failed, second_time_lucky, too_slow, costly, no_codec, outer, mapped)


def main(what: str, *arguments: str) -> None:
    """Serve the flows, or the tasks; or run a flow on a Dask cluster and count its Runs."""
    if what == "flows":
        serve(*(each.to_deployment("served") for each in (every_outcome, with_a_kill)))
    elif what == "tasks":
        serve_tasks(*TASKS, dies_once)
    else:
        from prefect_dask import DaskTaskRunner

        (address,) = arguments
        here = every_outcome.with_options(task_runner=DaskTaskRunner(address=address))
        state = here(f"key-{os.getpid()}", return_state=True)
        print(len(load_experiment(state.state_details.flow_run_id).runs))


if __name__ == "__main__":
    main(*sys.argv[1:])
