"""What recording adds to a Prefect task that does nothing: plain and recorded, in one flow run.

    python -m tests.benchmarks.task_cost                  # some minutes
    python -m tests.benchmarks.task_cost --tiny           # seconds; for CI
    python -m tests.benchmarks.task_cost --write          # and write the tables of docs/costs.md

The first table is of tasks that log nothing themselves, the second of tasks that log a parameter
and a small JSON document: with this package, with OMMX by hand, and with MLflow where
`mlflow-skinny` is installed (one MLflow run for each task, in its file store, and in SQLite where
`sqlalchemy` and `alembic` are installed, too). All of them run as Prefect tasks. Set
`PREFECT_API_URL` to measure against a server; without it Prefect starts a temporary one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.benchmarks.quiet import SCRATCH  # first: it sets what Prefect and OMMX read

# isort: split
import prefect
from ommx.experiment import Experiment

from ommx_prefect import current_run, flow, task
from tests.benchmarks.measures import Batches, alternating, ratio, report, shown, table

# What Prefect takes at most to send the events of a batch.
PAUSE_SECONDS = 1.0
# What its server takes to take in a task run; before that it refuses to begin a flow run (503).
REST_SECONDS = 0.04
Way = Callable[[int], object]


def nothing(i: int) -> None:
    """Do nothing."""


def small_dict(i: int) -> dict[str, Any]:
    """Return something, as most tasks do: it becomes an attachment of the Run."""
    return {"index": i, "gap": 0.25, "status": "optimal"}


def logging(i: int) -> dict[str, Any]:
    """Log a parameter and a document, and return something."""
    run = current_run()
    run.log_parameter("index", i)
    run.log_json("document", {"index": i, "gap": 0.25})
    return small_dict(i)


def one_by_one(work: Any, tasks: int) -> None:
    """Call a task again and again."""
    for i in range(tasks):
        work(i)


def mapped(work: Any, tasks: int) -> None:
    """Map a task over its inputs, and wait."""
    work.map(range(tasks)).wait()


HOW: dict[str, Callable[[Any, int], None]] = {"one by one": one_by_one, "`.map`": mapped}


def by_hand() -> Way:
    """Log with OMMX alone, into one experiment of the process."""
    experiment = Experiment("benchmark.local/by-hand:1")

    def log(i: int) -> dict[str, Any]:
        with experiment.run() as run:
            run.log_parameter("index", i)
            run.log_json("document", {"index": i, "gap": 0.25})
            run.log_json("output", small_dict(i))
        return small_dict(i)

    return log


def with_mlflow(uri: str) -> Way:
    """Log with MLflow: one run for each task."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("benchmark", artifact_location=f"{SCRATCH}/mlflow-files")

    def log(i: int) -> dict[str, Any]:
        run = client.create_run(experiment).info.run_id
        client.log_param(run, "index", i)
        client.log_dict(run, {"index": i, "gap": 0.25}, "document.json")
        client.log_dict(run, small_dict(i), "output.json")
        client.set_terminated(run)
        return small_dict(i)

    return log


def others() -> dict[str, Way]:
    """Return the other ways to log the same, as far as they are installed."""
    found = {"OMMX by hand": by_hand()}
    has = importlib.util.find_spec
    if has("mlflow"):
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        found["MLflow, files"] = with_mlflow(f"file://{SCRATCH}/mlruns")
        if has("sqlalchemy") and has("alembic"):
            found["MLflow, SQLite"] = with_mlflow(f"sqlite:///{SCRATCH}/mlflow.db")
    return found


def recording_ways() -> dict[str, Any]:
    """Return the tasks of the first table: plain and recorded."""
    return {
        f"{fn.__name__}/{what}": make(fn, name=f"{what}-{fn.__name__}")
        for fn in (nothing, small_dict)
        for what, make in (("plain", prefect.task), ("recorded", task))
    }


def logging_ways() -> dict[str, Any]:
    """Return the tasks of the second table, the plain one that logs nothing first."""
    plain = prefect.task(small_dict, name="plain")
    found = {"plain Prefect, logs nothing": plain, "ommx_prefect": task(logging, name="ours")}
    return found | {name: prefect.task(fn, name=name) for name, fn in others().items()}


@flow(experiment=None)
def measured(
    ways: dict[str, Any], hows: list[str], tasks: int, rounds: int
) -> dict[str, dict[str, Batches]]:
    """Measure some tasks in one flow run, called in some ways.

    In one, for a seal removes records: an ext4 without a journal gives no inode away that was
    freed in the last minutes, and looks at each of them whenever a file is made.
    """
    pause = PAUSE_SECONDS if tasks > 10 else 0.1
    found = {}
    for how in hows:
        calls = {name: partial(HOW[how], work, tasks) for name, work in ways.items()}
        found[how] = alternating(calls, rounds, pause)
    return found


def compared(
    found: dict[str, Batches], base: str, name: str, how: str, label: str, tasks: int
) -> list[str]:
    """Return a row: wall and processor time of one way, and their ratios to another."""
    one, other = found[name], found[base]
    return [
        label,
        how,
        shown(one.wall, tasks),
        ratio(one.wall, other.wall),
        shown(one.cpu, tasks),
        ratio(one.cpu, other.cpu),
    ]


TITLES = ("task", "how", "ms", "ratio", "ms of processor", "ratio")
LABELS = {"nothing": "returns None", "small_dict": "returns a small dict"}


def first_table(tasks: int, rounds: int) -> str:
    """Compare plain and recorded tasks that log nothing."""
    ways, rows = recording_ways(), []
    for how, found in measured(ways, list(HOW), tasks, rounds).items():
        for name in ways:
            kind, _, what = name.partition("/")
            label = f"{LABELS[kind]}, {what}"
            rows.append(compared(found, f"{kind}/plain", name, how, label, tasks))
    time.sleep(REST_SECONDS * tasks * (rounds + 1) * len(ways) * len(HOW))
    return table(TITLES, rows)


def second_table(tasks: int, rounds: int) -> str:
    """Compare ways to log a parameter and a document."""
    ways = logging_ways()
    found = measured(ways, ["one by one"], tasks, rounds)["one by one"]
    base = next(iter(ways))
    rows = [compared(found, base, name, "one by one", name, tasks) for name in ways]
    return table(TITLES, rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100, help="tasks in a batch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tiny", action="store_true", help="4 tasks in a batch, one round")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/costs.md")
    parser.add_argument("--table", choices=("1", "2"), help="measure one of the tables only")
    options = parser.parse_args()
    tasks, rounds = (4, 1) if options.tiny else (options.tasks, options.rounds)
    if options.table != "2":
        report("task_cost", first_table(tasks, rounds), write=options.write)
    if options.table != "1":
        report("logging_cost", second_table(tasks, rounds), write=options.write)


if __name__ == "__main__":
    main()
