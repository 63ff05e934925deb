"""Solve instances on several processes or hosts, and seal every solve in one experiment.

    python flows/distributed_solves.py
    python flows/distributed_solves.py --runner ray
    python flows/distributed_solves.py --scheduler tcp://host:8786
    python flows/distributed_solves.py --scheduler tcp://host:8786 --stage s3-bucket/shards

The first runs on Dask with two processes of this machine, the third on a Dask cluster that runs.

Workers need what Prefect needs of them: this package, the solver, and a way to Prefect's API.
Which experiment a solve belongs to, and where its record waits for the seal, travels with the flow.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Annotated, Any

if __name__ == "__main__":
    # A first run shows its table, not the log of a server and a cluster that it started.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import cloudpickle
import hard_instances
import typer
from benchmark_screen import announce, announce_failure
from hard_instances import FAMILIES
from ommx import Instance
from ommx.experiment import Experiment
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from rich.console import Console
from rich.table import Table

from ommx_prefect import SealedExperiment, current_run, flow, seal, task
from ommx_prefect.exceptions import OmmxPrefectError
from ommx_prefect.solvers import solve

# Workers on other hosts do not have this folder: what they cannot import travels with the flow.
cloudpickle.register_pickle_by_value(hard_instances)

WORKERS = 2
EXPERIMENT = "ommx.local/distributed"
PIPE_WIDTH = 120
TIME_LIMIT_SECONDS = 60.0
CONNECT_SECONDS = 5

# Family, its sizes, and seed: each takes HiGHS up to a few seconds.
INSTANCES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("mkp", {"items": 60, "constraints": 5, "tightness": 0.5}, 1),
    ("mkp", {"items": 60, "constraints": 5, "tightness": 0.25}, 2),
    ("cflp", {"customers": 30, "facilities": 15, "ratio": 3.0}, 1),
    ("cflp", {"customers": 30, "facilities": 15, "ratio": 3.0}, 2),
    ("scp", {"rows": 150, "columns": 600, "density": 0.05}, 1),
    ("scp", {"rows": 150, "columns": 600, "density": 0.05}, 2),
)
COLUMNS = {
    # title -> run parameter
    "instance": "instance",
    "outcome": "outcome",
    "objective": "objective",
    "seconds": "solve_seconds",
    "host": "prefect.host",
    "process": "process",
}


class Runner(str, Enum):
    """Where solves run."""

    threads = "threads"
    processes = "processes"
    dask = "dask"
    ray = "ray"


# Task runner -> the module that an extra of the same name brings.
EXTRAS = {Runner.dask: "prefect_dask", Runner.ray: "prefect_ray"}


@task(name="solve")
def solve_here(instance: Instance) -> float:
    """Solve an instance in this task's own Run, and note where."""
    current_run().log_parameter("process", os.getpid())
    solution = solve.fn("highs", instance, time_limit_seconds=TIME_LIMIT_SECONDS)
    return float(solution.objective)


def image_name(flow_run: FlowRun) -> str:
    """Return the image name that a flow run was given; without a tag it gets one of its own."""
    return str(flow_run.parameters["experiment"])


def distributed(experiment: str = EXPERIMENT) -> list[float]:
    """Solve every instance on the flow's task runner; return the objectives."""
    instances = [FAMILIES[family](**sizes, seed=seed) for family, sizes, seed in INSTANCES]
    return [future.result() for future in solve_here.map(instances)]


# ---------------------------------------------------------------- command line


def task_runner_of(runner: Runner, scheduler: str | None) -> TaskRunner[Any]:
    """Return the task runner; a Dask cluster or a Ray of its own ends with the flow run."""
    if (extra := EXTRAS.get(runner)) and importlib.util.find_spec(extra) is None:
        raise typer.BadParameter(
            f"{extra} is not installed: pip install {extra.replace('_', '-')}",
            param_hint="--runner",
        )
    if scheduler and runner is not Runner.dask:
        raise typer.BadParameter("only --runner dask has a scheduler", param_hint="--scheduler")
    if runner is Runner.threads:
        return ThreadPoolTaskRunner(max_workers=WORKERS)
    if runner is Runner.processes:
        return ProcessPoolTaskRunner(max_workers=WORKERS)
    if runner is Runner.ray:
        return ray_runner()
    from prefect_dask import DaskTaskRunner

    if scheduler:
        check_scheduler(scheduler)
        return DaskTaskRunner(address=scheduler)
    size = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_kwargs=size)


def check_scheduler(address: str) -> None:
    """Say at once what Dask would say much later, or never: a solve without workers waits."""
    try:
        workers = asyncio.run(workers_of(address))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"no Dask scheduler answers at {address}: {error}", param_hint="--scheduler"
        ) from error
    if not workers:
        raise typer.BadParameter(
            f"no worker is there: start one by `dask worker {address}`", param_hint="--scheduler"
        )


async def workers_of(address: str) -> dict[str, Any]:
    """Ask a Dask scheduler for its workers."""
    from distributed import rpc

    async with rpc(address, timeout=CONNECT_SECONDS) as scheduler:
        identity: dict[str, Any] = await scheduler.identity(n_workers=-1)
        return dict(identity["workers"])


def ray_runner() -> TaskRunner[Any]:
    """Return a Ray of this machine."""
    from prefect_ray import RayTaskRunner

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    return RayTaskRunner(init_kwargs={"num_cpus": WORKERS, **quiet})


@contextmanager
def one_server() -> Iterator[None]:
    """Let workers use the temporary server of this script; each would start one of its own."""
    with get_client(sync_client=True) as client:
        url = str(client.api_url)
        with temporary_settings({PREFECT_API_URL: url}):
            yield


def is_news(record: logging.LogRecord) -> bool:
    """Keep tracebacks of what the user got wrong off the screen: the message comes at the end."""
    return not (record.exc_info and isinstance(record.exc_info[1], OmmxPrefectError))


def show(sealed: SealedExperiment, seconds: float) -> None:
    """Show from the sealed artifact which process ran what, and how it is opened."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    frame = Experiment.load(sealed.image_name).run_parameters_df()
    table = Table(title=f"{len(frame)} solves in {seconds:.0f} s", title_justify="left")
    for title in COLUMNS:
        table.add_column(title)
    for row in frame.sort_values("instance").to_dict("records"):
        table.add_row(*(cell(row.get(column)) for column in COLUMNS.values()))
    console.print(table)
    announce(sealed, list(COLUMNS.values()))


def cell(value: object) -> str:
    """Return the text of a cell."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def main(
    runner: Annotated[Runner, typer.Option(help="Where solves run.")] = Runner.dask,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask cluster that runs already.")
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="BLOCK", help="Where records wait for the seal: s3-bucket/NAME, ..."),
    ] = None,
    experiment: Annotated[
        str, typer.Option(metavar="IMAGE", help="OCI image name to seal under.")
    ] = EXPERIMENT,
) -> None:
    """Solve seeded instances with HiGHS on several processes, and seal them in one experiment."""
    task_runner = task_runner_of(runner, scheduler)
    run = flow(name="distributed", experiment=image_name, stage=stage, task_runner=task_runner)
    logging.getLogger("prefect.flow_runs").addFilter(is_news)
    begin = time.monotonic()
    with one_server():
        state = run(distributed)(experiment=experiment, return_state=True)
    if not state.is_completed():
        failed = f"The solves did not end well: {state.message}"
        announce_failure(failed, state.state_details.flow_run_id)
        raise SystemExit(1)
    show(seal(state.state_details.flow_run_id), time.monotonic() - begin)


if __name__ == "__main__":
    typer.run(main)
