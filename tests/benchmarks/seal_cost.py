"""What a seal takes: time and memory for each Run, from a hundred Runs up.

    python -m tests.benchmarks.seal_cost                            # 10^2, 10^3 and 10^4 Runs
    python -m tests.benchmarks.seal_cost --sizes 100000 --rounds 1
    python -m tests.benchmarks.seal_cost --tiny                     # 20 Runs; for CI
    python -m tests.benchmarks.seal_cost --write                    # and docs/costs.md

Each Run has a small dict as its output. Each seal is measured in a process of its own, which holds
nothing but what the seal needs: its peak is the greatest resident size beyond that before the seal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from tests.benchmarks.attempts import new_flow_run_id, record_small, seal
from tests.benchmarks.measures import PeakMemory, report, shown, table

SIZES = [100, 1_000, 10_000]


def measured(runs: int) -> dict[str, float]:
    """Stage and seal; return what each took."""
    seal(record_small(new_flow_run_id(), 5))
    begin = time.process_time()
    last = record_small(new_flow_run_id(), runs)
    recording = time.process_time() - begin
    with PeakMemory() as peak:
        wall, cpu = time.perf_counter(), time.process_time()
        sealed = seal(last)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert sum(sealed.counts.values()) == runs
    return {"record": recording, "wall": wall, "cpu": cpu, "kilobytes": peak.megabytes * 1024}


def in_process_of_its_own(runs: int) -> dict[str, float]:
    """Measure in a new process."""
    command = [sys.executable, "-m", "tests.benchmarks.seal_cost", "--measure", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row_of(runs: int, rounds: int) -> list[str]:
    """Measure seals of one size."""
    found = [in_process_of_its_own(runs) for _ in range(rounds)]
    seconds = statistics.median(each["wall"] for each in found)
    memory = [each["kilobytes"] / runs for each in found]
    return [
        f"{runs:,}",
        f"{seconds:.2f}",
        shown([each["wall"] for each in found], runs),
        shown([each["cpu"] for each in found], runs),
        f"{statistics.median(memory):.1f} ± {(max(memory) - min(memory)) / 2:.1f}",
        f"{statistics.median(memory) * runs / 1024:.0f}",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="RUNS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="20 Runs, once")
    parser.add_argument("--write", action="store_true", help="write the table of docs/costs.md")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure)))
        return
    sizes, rounds = ([20], 1) if options.tiny else (options.sizes, options.rounds)
    titles = ("Runs", "s", "ms a Run", "ms of processor a Run", "peak, kB a Run", "peak, MB")
    rows = [row_of(runs, rounds) for runs in sizes]
    report("seal_cost", table(titles, rows), write=options.write)


if __name__ == "__main__":
    main()
