"""What recording costs: recorded and plain Prefect tasks side by side, in one run.

    python flows/overhead_benchmark.py            # tasks, and seals of 100, 1,000 and 10,000 Runs
    python flows/overhead_benchmark.py --tasks 50 --seal 100 1000

Plain and recorded batches alternate, so that both see the same machine; shown is the median
over the batches. Prefect sends the events of a batch in the background, so each batch waits for
those of the one before, and pays for its own only. Run it against a server (`prefect server
start`) or without one.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from typing import Any

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
# The first start of a temporary server makes its database, which takes a while.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "240")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
# The temporary server ends before it has taken in the plain tasks, and would complain at length.
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
# A registry of its own: the benchmark leaves nothing behind, and finds nothing in its way.
os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = tempfile.mkdtemp(prefix="overhead-")

import prefect
from rich.console import Console
from rich.table import Table

from ommx_prefect import flow, task
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._sealing.seal import seal_task_run
from ommx_prefect._shards.shard import Attempt

BATCHES = 11
# What Prefect takes at most to send the events of a batch.
PAUSE_SECONDS = 1.0


def noop(i: int) -> None:
    """Do nothing."""


def number(i: int) -> int:
    """Return something, as most tasks do: it becomes an attachment of the Run."""
    return i


def nap(i: int) -> None:
    """Take 250 ms."""
    time.sleep(0.25)


PLAIN = {fn: prefect.task(fn, name=f"plain-{fn.__name__}") for fn in (noop, number, nap)}
RECORDED = {fn: task(fn, name=f"recorded-{fn.__name__}") for fn in (noop, number, nap)}


def one_by_one(work: prefect.Task[..., Any], tasks: int) -> None:
    """Call a task again and again."""
    for i in range(tasks):
        work(i)


def mapped(work: prefect.Task[..., Any], tasks: int) -> None:
    """Map a task over its inputs, and wait."""
    work.map(range(tasks)).wait()


def milliseconds_per_task(run: Callable[..., None], fn: Any, tasks: int) -> tuple[float, float]:
    """Return the medians for plain and recorded tasks, in one flow run, in alternating batches."""
    taken: dict[bool, list[float]] = {False: [], True: []}

    @flow(experiment=None)
    def compare() -> None:
        for _ in range(BATCHES):
            for recorded, work in ((False, PLAIN[fn]), (True, RECORDED[fn])):
                time.sleep(PAUSE_SECONDS)
                begin = time.perf_counter()
                run(work, tasks)
                taken[recorded].append((time.perf_counter() - begin) / tasks * 1e3)

    compare()
    return statistics.median(taken[False]), statistics.median(taken[True])


def compare_tasks(tasks: int) -> Table:
    """Measure every pair."""
    table = Table(title="milliseconds per task", title_justify="left")
    for column in ("task", "how", "plain", "recorded", "ratio"):
        table.add_column(column, justify="left" if column in ("task", "how") else "right")
    rows = (
        ("no-op, returns None", "one by one", one_by_one, noop, tasks),
        ("no-op, returns None", "map", mapped, noop, tasks),
        ("returns a number", "one by one", one_by_one, number, tasks),
        ("returns a number", "map", mapped, number, tasks),
        ("250 ms", "one by one", one_by_one, nap, max(tasks // 25, 2)),
    )
    for what, how, run, fn, count in rows:
        plain, recorded = milliseconds_per_task(run, fn, count)
        ratio = f"{recorded / plain:.3f}"
        table.add_row(what, how, f"{plain:.2f}", f"{recorded:.2f}", ratio)
    return table


def stage_runs(owner: str, runs: int) -> Attempt:
    """Leave the shards of `runs` attempts, each with an output of its own; return the last."""
    for i in range(runs):
        attempt = Attempt(owner, "", 0, str(uuid.uuid4()), "solve", f"solve-{i}", 1, f"{i:012x}",
                          time.time(), "here", os.getpid())  # fmt: skip
        with Recording(attempt, RecordingOptions(), {"i": i}) as recording:
            recording.returned({"value": i})
    return attempt


def seal_seconds(runs: int) -> tuple[float, float, float]:
    """Return seconds to stage and to seal, and the peak memory of this process in MB."""
    owner = str(uuid.uuid4())
    begin = time.perf_counter()
    last = stage_runs(owner, runs)
    staged = time.perf_counter()
    seal_task_run(last, Outcome("finished", "Completed", None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return staged - begin, time.perf_counter() - staged, peak


def measure_seals(sizes: list[int]) -> Table:
    """Measure seals of several sizes."""
    table = Table(title="sealing", title_justify="left")
    for column in ("Runs", "recording, s", "seal, s", "ms per Run", "peak memory, MB"):
        table.add_column(column, justify="right")
    for runs in sizes:
        staged, seconds, peak = seal_seconds(runs)
        per_run = f"{seconds / runs * 1e3:.2f}"
        table.add_row(f"{runs:,}", f"{staged:.2f}", f"{seconds:.2f}", per_run, f"{peak:.0f}")
    return table


def count(text: str) -> int:
    """Parse a number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
    return int(text)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tasks", type=count, default=100, help="tasks in a batch (default 100; 0 for none)"
    )
    parser.add_argument("--seal", type=count, nargs="*", default=[100, 1_000, 10_000], help="Runs")
    options = parser.parse_args()
    console = Console()
    if options.tasks:
        console.print(compare_tasks(options.tasks))
    if options.seal:
        console.print(measure_seals(options.seal))


if __name__ == "__main__":
    main()
