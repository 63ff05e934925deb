"""What telemetry and checkpoints add to a solve of ten seconds.

    python -m tests.benchmarks.telemetry_cost                   # HiGHS and SCIP, some minutes
    python -m tests.benchmarks.telemetry_cost --tiny            # seconds; for CI
    python -m tests.benchmarks.telemetry_cost --solver scip --rounds 5

Each solve of gen-ip054 (MIPLIB 2017) ends at a number of nodes with one thread and a seed, so that
the solver does the same each time, whatever is recorded of it. Compared are seconds of processor
time of the whole process, which other programs of the machine hardly change; the variants take
turns. Printed is one table in markdown: median, half the spread, what it is above no telemetry, and
the share of it that is spent inside the callbacks, which no other program's caches disturb as much.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = tempfile.mkdtemp(prefix="telemetry-cost-")

from ommx import Instance
from ommx.experiment import Experiment

from ommx_prefect._solver.watch import Watch
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers._solve import solve_in
from tests.benchmarks.solve_cost import machine
from tests.support.instance_files import instance_file

# Option that ends a solve, and the nodes of some ten seconds.
NODES = {"highs": ("mip_max_nodes", 12_000), "scip": ("limits/nodes", 25_000)}
VARIANTS: dict[str, dict[str, Any]] = {
    "nothing": {"telemetry": False},
    "summary": {"telemetry": "summary"},
    "full": {"telemetry": "full"},
    "full, checkpoints every second": {"telemetry": "full", "checkpoint_seconds": 1.0},
}


class Callbacks:
    """Counts the processor time inside the callbacks of solvers."""

    seconds = 0.0

    @classmethod
    @contextlib.contextmanager
    def counted(cls, watch: Watch) -> Iterator[None]:
        """Do what `Watch.guarded` does, and count it."""
        start = time.thread_time()
        with GUARDED(watch):
            yield
        cls.seconds += time.thread_time() - start


GUARDED = Watch.guarded
Watch.guarded = lambda watch: Callbacks.counted(watch)  # type: ignore[method-assign]


def seconds(
    instance: Instance, solver: str, nodes: int, given: dict[str, Any]
) -> tuple[float, float]:
    """Return the processor time of one solve in a Run, all threads together, and of callbacks."""
    limits = {"threads": 1, "seed": 1}
    options = {NODES[solver][0]: nodes}
    experiment = Experiment.with_temp_local_registry()
    start, Callbacks.seconds = time.process_time(), 0.0
    with experiment.run() as run:
        solve_in(run, solver, instance, limits=limits, options=options, **given)
    return time.process_time() - start, Callbacks.seconds


def table(solvers: list[str], nodes: int | None, rounds: int) -> Iterator[str]:
    """Give the lines of the table."""
    instance = load_instance(instance_file("gen-ip054.mps")).instance
    yield "| solver | nodes | recorded | processor seconds | more than nothing | in callbacks |"
    yield "|---|---|---|---|---|---|"
    for solver in solvers:
        most = nodes or NODES[solver][1]
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
        seconds(instance, solver, 10, VARIANTS["full"])  # what the first of all pays
        for _ in range(rounds):
            for name, given in VARIANTS.items():
                found[name].append(seconds(instance, solver, most, given))
        plain = statistics.median(each[0] for each in found["nothing"])
        for name, each in found.items():
            times, inside = zip(*each, strict=True)
            median, spread = statistics.median(times), (max(times) - min(times)) / 2
            more = f"{100 * (median / plain - 1):+.1f} %"
            share = f"{100 * statistics.median(inside) / median:.2f} %"
            cells = f"{name} | {median:.2f} ±{spread:.2f} | {more} | {share}"
            yield f"| {solver} | {most:,} | {cells} |"


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--solver", action="append", choices=NODES)
    parser.add_argument("--nodes", type=int, help="fewer or more than some ten seconds take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="50 nodes, one round")
    options = parser.parse_args()
    if options.tiny:
        options.nodes, options.rounds = 50, 1
    print(machine(), "\n", flush=True)
    for line in table(options.solver or list(NODES), options.nodes, options.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
