"""What a process keeps of flow runs that are over: memory, open files, files, and its own tables.

    python -m tests.benchmarks.served_cost                    # 300 flow runs in one process
    python -m tests.benchmarks.served_cost --runs 5000
    python -m tests.benchmarks.served_cost --tiny             # 3 flow runs; for CI
    python -m tests.benchmarks.served_cost --write            # and docs/costs.md

One flow, called again and again: its body logs on the experiment, and one task returns a small
dict. Each row is what is there after so many flow runs, and the last one after `prune`.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import tests.benchmarks.quiet  # noqa: F401 (first: it sets what Prefect and OMMX read)

# isort: split
import psutil
from prefect.settings import get_current_settings

from ommx_prefect import current_experiment, flow, task
from ommx_prefect._catalogue.keeping import prunable_files
from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._stages.roots import stage_root
from tests.benchmarks.measures import report, table

TITLES = ("flow runs", "resident, MB", "open files", "files", "entries of tables", "largest table")
ROWS = 5


@task
def work(i: int) -> dict[str, Any]:
    """Return something of this flow run."""
    return {"index": i}


@flow
def served(i: int) -> None:
    """Log, and call a task."""
    current_experiment().log_json("plan", {"index": i})
    work(i)


def tables() -> dict[str, int]:
    """Return the sizes of what the modules of this package keep, by name."""
    return {
        f"{name.removeprefix('ommx_prefect.')}.{each}": len(found)
        for name, module in list(sys.modules.items())
        if name.startswith("ommx_prefect.")
        for each, found in list(vars(module).items())
        if each.startswith("_") and not each.startswith("__") and each.islower()
        if isinstance(found, (dict, set, list, Bounded))
    }


def row_of(runs: str, before: dict[str, int]) -> list[str]:
    """Return what is there now."""
    gc.collect()
    process = psutil.Process()
    files = sum(1 for path in stage_root().rglob("*") if path.is_file())
    now = tables()
    grown = {name: size - before.get(name, 0) for name, size in now.items()}
    largest = max(grown, key=lambda name: grown[name])
    return [
        runs,
        f"{process.memory_info().rss / 2**20:.0f}",
        str(process.num_fds()),
        f"{files:,}",
        f"{sum(grown.values()):,}",
        f"`{largest}` {grown[largest]:,}",
    ]


def rows(runs: int) -> Iterator[list[str]]:
    """Run, and yield what is there in between."""
    served(-1)
    before = tables()
    yield row_of("1", before)
    marks = sorted({runs * part // (ROWS - 1) for part in range(ROWS)})
    for begin, end in pairwise(marks):
        for i in range(begin, end):
            served(i)
        yield row_of(f"{end + 1:,}", before)
    for each in prunable_files(0.0):
        each.remove()
    yield row_of("after `prune`", before)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--tiny", action="store_true", help="3 flow runs")
    parser.add_argument("--write", action="store_true", help="write the table of docs/costs.md")
    options = parser.parse_args()
    # Each flow run would wait up to a second for the thread that sends them (Prefect 3.9.1).
    get_current_settings().flows.heartbeat_frequency = None
    found = list(rows(3 if options.tiny else options.runs))
    report("served_cost", table(TITLES, found), write=options.write)


if __name__ == "__main__":
    main()
