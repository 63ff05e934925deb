"""Many that record at once: processes, async tasks of one loop, and a large `.map`.

    python -m tests.benchmarks.writers_cost                # 64 processes, 200 async, 5,000 mapped
    python -m tests.benchmarks.writers_cost --processes 64 --records 100 --concurrent 0 --mapped 0
    python -m tests.benchmarks.writers_cost --tiny             # for CI
    python -m tests.benchmarks.writers_cost --write            # and docs/costs.md

Each record has a small dict as its output. All of a way are of one experiment, which is sealed and
counted in the end: a record that is lost is an error. Prefect's part is in the figures of tasks,
and so is what the same tasks take without recording; processes record without Prefect.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

from tests.benchmarks.attempts import new_flow_run_id, record_small, seal  # first

# isort: split
import prefect
import psutil

from ommx_prefect import flow, load_experiment, task
from tests.benchmarks.measures import report, table

# For each task of the way before: the server takes in what it was sent, and answers nobody.
REST_SECONDS = 0.03
TITLES = (
    "who records", "records", "s", "records a second", "MB more", "open files more", "lost",
)  # fmt: skip


@dataclass(frozen=True)
class Held:
    """What a process holds: resident megabytes, and open files."""

    megabytes: float
    files: int

    @classmethod
    def now(cls) -> Held:
        """Look."""
        process = psutil.Process()
        return cls(process.memory_info().rss / 2**20, process.num_fds())

    def more_than(self, before: Held) -> Held:
        """Return what is held beyond what was."""
        return Held(self.megabytes - before.megabytes, self.files - before.files)


def row_of(who: str, records: int, seconds: float, more: Held, lost: int) -> list[str]:
    """Return the row of a way."""
    rate = f"{records / seconds:,.0f}"
    held = [f"{more.megabytes:.1f}", str(more.files)]
    return [who, f"{records:,}", f"{seconds:.2f}", rate, *held, str(lost)]


# ------------------------------------------------------------ processes


def write(flow_run_id: str, records: int, ready: Barrier, results: Any) -> None:
    """Record in a process of its own, when all are there."""
    record_small(flow_run_id, 1)
    before = Held.now()
    ready.wait()
    began = time.time()
    last = record_small(flow_run_id, records - 1)
    results.put((began, time.time(), Held.now().more_than(before), last))


def processes(number: int, records: int) -> list[str]:
    """Let processes record into one experiment, and seal it."""
    seal(record_small(new_flow_run_id(), 2))
    flow_run_id, made = new_flow_run_id(), multiprocessing.get_context("fork")
    ready, results = made.Barrier(number), made.Queue()
    args = (flow_run_id, records, ready, results)
    writers = [made.Process(target=write, args=args) for _ in range(number)]
    for writer in writers:
        writer.start()
    found = [results.get(timeout=600) for _ in writers]
    for writer in writers:
        writer.join()
    seconds = max(ended for _, ended, _, _ in found) - min(began for began, *_ in found)
    most = Held(max(x.megabytes for *_, x, _ in found), max(x.files for *_, x, _ in found))
    written = number * records
    sealed = seal(found[0][-1])
    lost = written - sum(sealed.counts.values())
    return row_of(f"{number} processes", written - number, seconds, most, lost)


# ------------------------------------------------------------ tasks


def small_dict(i: int) -> dict[str, Any]:
    """Return something, as most tasks do."""
    return {"index": i, "gap": 0.25}


async def small_dict_async(i: int) -> dict[str, Any]:
    """Return something, after others have begun."""
    await asyncio.sleep(0)
    return small_dict(i)


async def _gather(work: Any, number: int) -> None:
    await asyncio.gather(*(work(i) for i in range(number)))


def together(work: Any, number: int) -> None:
    """Run so many tasks at once in one event loop."""
    asyncio.run(_gather(work, number))


def mapped(work: Any, number: int) -> None:
    """Map a task."""
    work.map(range(number)).wait()


def tasks(who: str, run: Callable[[Any, int], None], body: Any, number: int) -> Iterator[list[str]]:
    """Run a body as plain tasks and as recorded ones, each in a flow of its own."""
    for name, make_task, make_flow in (
        ("plain Prefect", prefect.task, prefect.flow),
        ("recorded", task, flow),
    ):
        time.sleep(number * REST_SECONDS)
        before = Held.now()
        seconds, state = timed(make_flow, functools.partial(run, make_task(body), number))
        lost = 0
        if make_flow is flow:
            lost = number - len(load_experiment(state.state_details.flow_run_id).runs)
        yield row_of(f"{who}, {name}", number, seconds, Held.now().more_than(before), lost)


def timed(make_flow: Any, work: Callable[[], None]) -> tuple[float, Any]:
    """Do something as a flow; return the seconds that it took in there, and the flow's state."""
    took: list[float] = []

    @make_flow(name="writers")
    def night() -> None:
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)

    state = night(return_state=True)
    return took[0], state


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--records", type=int, default=50, help="of each process")
    parser.add_argument("--concurrent", type=int, default=200, metavar="TASKS")
    parser.add_argument("--mapped", type=int, default=5_000, metavar="TASKS")
    parser.add_argument("--tiny", action="store_true", help="4 processes, 5 and 10 tasks")
    parser.add_argument("--write", action="store_true", help="write the table of docs/costs.md")
    options = parser.parse_args()
    if options.tiny:
        options.processes, options.records, options.concurrent, options.mapped = 4, 3, 5, 10
    # First: a fork takes no server's threads along.
    rows = [processes(options.processes, options.records)] if options.processes else []
    if options.concurrent or options.mapped:
        list(tasks("warm-up", mapped, small_dict, 2))  # the server, and what is imported late
    if options.concurrent:
        rows += tasks("async tasks at once", together, small_dict_async, options.concurrent)
    if options.mapped:
        rows += tasks("tasks of a `.map`", mapped, small_dict, options.mapped)
    report("writers_cost", table(TITLES, rows), write=options.write)
    if any(row[-1] != "0" for row in rows):
        raise SystemExit("records are lost")


if __name__ == "__main__":
    main()
