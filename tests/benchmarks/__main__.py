"""Run each benchmark once at its smallest size, two at a time: that shows that they run.

    python -m tests.benchmarks

Their figures are worthless then. One Prefect server serves all, for each would start its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.prefect_server import own_server

# Those that take longest come first.
BENCHMARKS = (
    *("task_cost", "solve_cost", "writers_cost", "served_cost", "telemetry_cost", "seal_cost"),
    *("payload_cost", "oci_stage_cost", "parts_cost", "security_cost", "json_cost", "load_cost"),
)
AT_ONCE = 2


def run(name: str) -> bool:
    """Run a benchmark and print what it printed; tell whether it ended well."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--tiny"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"{name}: exit code {done.returncode}\n{done.stdout}", flush=True)
    return done.returncode == 0


def main() -> int:
    """Run all, and return 0 where all ended well."""
    with (
        tempfile.TemporaryDirectory(prefix="ommx-prefect-benchmarks-") as folder,
        own_server(Path(folder)),
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        return int(not all(list(pool.map(run, BENCHMARKS))))


if __name__ == "__main__":
    sys.exit(main())
