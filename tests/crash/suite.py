"""Kill flow runs in every way we know of, seal, and compare with a journal that is not ours.

    python -m tests.crash.suite --repeat 20

prints a table (where killed, how often, steps ended before the kill, Runs found after the seal,
lost, doubled) and exits with 1 when anything is lost, doubled or has a wrong status. What must be
there is said in judge.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash.judge import Row
from tests.crash.scene import Server, Suite
from tests.support.watchdog import guarded_folder

if TYPE_CHECKING:
    Case = Callable[[Suite, Row], None]

# What pytest runs without --full: one place of each kind that dies or goes away.
USUAL = (
    "script, kill -9",
    "registry, kill -9 in a push",
    "disk full",
    "sealing process, first seal",
)
COLUMNS = ("times", "ended", "found", "interrupted", "superseded", "lost", "doubled")


def cases() -> dict[str, Case]:
    """Return the cases by name; imported late, for OMMX fixes its registry at import."""
    from tests.crash.deaths import (
        script_dies,
        script_ends,
        served_flow_dies,
        server_goes_away,
        suspended_killed_and_retried,
        worker_flow_dies,
        worker_process_dies,
        worker_service_dies,
    )
    from tests.crash.places import disk_fills_up, registry_goes_away
    from tests.crash.points import sealing_dies

    kill, term, interrupt = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
    return {
        "script, kill -9": lambda s, r: script_dies(s, r, kill),
        "script, SIGTERM": lambda s, r: script_dies(s, r, term),
        "script, SIGINT": lambda s, r: script_dies(s, r, interrupt),
        "script with a process pool, kill -9": lambda s, r: script_dies(s, r, kill, "in_a_pool", 8),
        "pool process, kill -9": lambda s, r: worker_process_dies(s, r, "in_a_pool", reruns=False),
        "Dask worker, kill -9": lambda s, r: worker_process_dies(s, r, "in_dask"),
        "Ray worker, kill -9": lambda s, r: worker_process_dies(s, r, "in_ray"),
        "served flow, kill -9": lambda s, r: served_flow_dies(s, r, kill),
        "served flow, SIGTERM": lambda s, r: served_flow_dies(s, r, term),
        "served flow, SIGINT": lambda s, r: served_flow_dies(s, r, interrupt),
        "served flow, cancelled": lambda s, r: served_flow_dies(s, r, None),
        "flow run suspended, resumed, killed, retried": suspended_killed_and_retried,
        "worker's flow, kill -9": lambda s, r: worker_flow_dies(s, r, kill),
        "worker's flow, SIGTERM": lambda s, r: worker_flow_dies(s, r, term),
        "worker's flow, SIGINT": lambda s, r: worker_flow_dies(s, r, interrupt),
        "worker's flow, cancelled": lambda s, r: worker_flow_dies(s, r, None),
        "worker service, SIGTERM": lambda s, r: worker_service_dies(s, r, term),
        "worker service, kill -9": lambda s, r: worker_service_dies(s, r, kill),
        "task timeout": lambda s, r: script_ends(s, r, "with_a_task_timeout"),
        "flow timeout": lambda s, r: script_ends(s, r, "with_a_flow_timeout"),
        "server away for ten seconds": server_goes_away,
        "registry, kill -9 in a push": lambda s, r: registry_goes_away(s, r, pusher_dies=False),
        "registry and script, kill -9 in a push": lambda s, r: registry_goes_away(
            s, r, pusher_dies=True
        ),
        "disk full": disk_fills_up,
        "sealing process, first seal": lambda s, r: sealing_dies(s, r, "interrupted"),
        "sealing process, extending seal": lambda s, r: sealing_dies(s, r, "finished"),
    }


def run_case(suite: Suite, name: str, case: Case, repeat: int) -> Row:
    """Run a case some times, and return its line of the table."""
    row = Row(name)
    began = time.monotonic()
    for _ in range(repeat):
        try:
            case(suite, row)
        except pytest.skip.Exception as skipped:  # it needs what is not installed here
            row.skipped = str(skipped)
        except (pytest.fail.Exception, Exception) as error:
            row.problems.append(f"{type(error).__name__}: {error}")
    row.seconds = time.monotonic() - began
    return row


def table(rows: Sequence[Row], *, title: bool = True) -> str:
    """Return the table as text, with the problems below the lines they belong to."""
    lines = ["".join((f"{'where killed':<44}", *(f"{x:>12}" for x in COLUMNS)))] if title else []
    for row in rows:
        cells = (f"{getattr(row, name):>12}" for name in COLUMNS)
        lines.append("".join((f"{row.where:<44}", *cells, f"{row.seconds:>8.0f} s")))
        lines += [f"    SKIPPED: {row.skipped}"] if row.skipped else []
        lines += [f"    {problem[:2000]}" for problem in row.problems]
    return "\n".join(lines)


def exit_code(rows: Sequence[Row]) -> int:
    """Return 0 where every line is good."""
    return int(not rows or not all(row.is_good for row in rows))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="how often each process is killed")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--without", nargs="*", default=[], help="cases to leave out, likewise")
    parser.add_argument("--usual", action="store_true", help="one case of each kind of death")
    parser.add_argument("--every", type=int, default=1, help="every n-th point of sealing")
    parser.add_argument("--seed", type=int, default=None, help="says when to kill")
    parser.add_argument("--api", default="", help="of a Prefect server that no case will kill")
    parser.add_argument("--json", type=Path, default=None, help="also write the lines there")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> dict[str, Case]:
    return {
        name: case
        for name, case in cases().items()
        if arguments.only in name
        and not any(x in name for x in arguments.without)
        and (name in USUAL or not arguments.usual)
    }


def main() -> int:
    arguments = _parsed()
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    print(f"seed {seed}", flush=True)
    # A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = guarded_folder("ommx-prefect-crashes-")
    rows = _run(folder, arguments, random.Random(seed))
    print("\n" + table(rows))
    return exit_code(rows)


def _run(folder: Path, arguments: argparse.Namespace, chance: random.Random) -> list[Row]:
    os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(folder / "registry")
    os.environ["PREFECT_HOME"] = str(folder / "prefect")
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    server = None if arguments.api else Server(folder)
    os.environ["PREFECT_API_URL"] = server.url if server else arguments.api
    suite = Suite(folder, server, chance, every=arguments.every)
    rows: list[Row] = []
    try:
        for name, case in _chosen(arguments).items():
            rows.append(run_case(suite, name, case, arguments.repeat))
            print(table(rows[-1:], title=len(rows) == 1), flush=True)
            if arguments.json:
                with arguments.json.open("a") as file:
                    file.write(json.dumps(dataclasses.asdict(rows[-1])) + "\n")
    finally:
        if server:
            server.kill()
    return rows


if __name__ == "__main__":
    sys.exit(main())
