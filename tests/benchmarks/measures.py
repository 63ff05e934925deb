"""How the benchmarks measure side by side, and how they print and write down what they found.

What is compared is measured in one process, in batches that alternate, so that all see the same
machine. Shown is the median of the batches with half their spread, and the median of the ratios of
each batch to the first one's of its round.
"""

from __future__ import annotations

import gc
import os
import platform
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

COSTS = Path(__file__).resolve().parents[2] / "docs" / "costs.md"
PACKAGES = ("prefect", "ommx", "ommx-prefect", "mlflow-skinny")
SAMPLE_SECONDS = 0.002


@dataclass
class Batches:
    """What one of several alternatives took, batch by batch.

    Attributes:
        wall: Seconds.
        cpu: Seconds of processor time of this process and its children.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def cpu_seconds() -> float:
    """Return the processor time of this process and of all its children that live."""
    total = time.process_time()
    for child in psutil.Process().children(recursive=True):
        try:
            spent = child.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += spent.user + spent.system
    return total


def alternating(
    ways: Mapping[str, Callable[[], object]], rounds: int, pause_seconds: float = 0.0
) -> dict[str, Batches]:
    """Run each way once in every round, after one round that is not counted."""
    found = {name: Batches() for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            time.sleep(pause_seconds)  # what goes on in the background of the one before
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if number:
                found[name].wall.append(wall)
                found[name].cpu.append(cpu)
    return found


def shown(seconds: Sequence[float], each: int = 1) -> str:
    """Show a median in milliseconds, with half the spread."""
    values = [value / each * 1e3 for value in seconds]
    return f"{statistics.median(values):.2f} ± {(max(values) - min(values)) / 2:.2f}"


def ratio(seconds: Sequence[float], base: Sequence[float]) -> str:
    """Show the median of the ratios within each round."""
    pairs = zip(seconds, base, strict=True)
    return f"{statistics.median(one / other for one, other in pairs):.2f}"


class PeakMemory:
    """The most memory that this process holds while the block runs, beyond what it held before.

    Attributes:
        megabytes: How much more.
    """

    megabytes = 0.0

    def __enter__(self) -> PeakMemory:
        gc.collect()
        self._process = psutil.Process()
        self._before = self._most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.megabytes = (self._most - self._before) / 2**20

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, self._process.memory_info().rss)
            if self._over.wait(SAMPLE_SECONDS):
                return


def machine() -> str:
    """Say on what it is measured."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "?"
    found = ", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name))
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load}, "
        f"Python {platform.python_version()}, {found}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(name: str, text: str, *, write: bool) -> None:
    """Print what was measured, and write it into docs/costs.md between the marks of its name."""
    told = f"{text}\n\nMeasured on {machine()}."
    print(told, flush=True)
    if not write:
        return
    page = COSTS.read_text()
    begin, end = f"<!-- {name}: written by tests/benchmarks -->", f"<!-- {name}: end -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise SystemExit(f"{COSTS} has no place for it: {begin} ... {end}")
    COSTS.write_text(found.sub(lambda _: f"{begin}\n\n{told}\n\n{end}", page))
