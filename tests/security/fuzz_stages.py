"""Change whole stages, seal them, and look whether all is as it must be (see `fuzzing.cases`).

    python -m tests.security.fuzz_stages --cases 10000

shares the cases among the kinds of places, prints a table of how they ended, and exits with 1 when
one ended as it must not. `--only disk --seed 17 --cases 1` tries one case again.

A process records a flow run, and copies it back before each of a hundred cases. After a case that
ended as it must not, or not at all, the next begins in a new one.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import random
import resource
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.security.fuzzing.child import Child
from tests.support.watchdog import guarded_folder

# Cases of one process: what stays in a Local Registry makes each seal a little slower.
CASES_OF_A_PROCESS = 100
# A process that says nothing for so long stands still.
PATIENCE_SECONDS = 60
# What a case may ask for at all, so that none takes the machine: it gets a MemoryError.
MOST_DATA_BYTES = 4 * 2**30
# A folder in memory, where there is one: a third of a case is waiting for a disk.
IN_MEMORY = Path("/dev/shm")
LEAST_FREE_BYTES = 4 * 2**30

Case = tuple[int, str, str]


def main() -> int:
    """Try all cases; 0 where each ended as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--only", default="", help="the place: local, disk, oci, ...")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first case")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="cases at a time")
    arguments = parser.parse_args()
    if _is_roomy(IN_MEMORY):
        os.environ.setdefault("TMPDIR", str(IN_MEMORY))
    folder = guarded_folder("ommx-prefect-fuzz-")
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    os.environ.pop("PREFECT_API_URL", None)
    return _run(folder, arguments)


def _is_roomy(folder: Path) -> bool:
    is_there = folder.is_dir() and os.access(folder, os.W_OK)
    return is_there and shutil.disk_usage(folder).free > LEAST_FREE_BYTES


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    import pandas  # noqa: F401 - here, and not in each process

    from tests.security.fuzzing.scenes import PLACES

    places = [x for x in PLACES if arguments.only in ("", x)]
    each = -(-arguments.cases // len(places))
    batches = [  # in turns, so that a part tells of all places
        (name, arguments.seed + at, min(CASES_OF_A_PROCESS, each - at))
        for at in range(0, each, CASES_OF_A_PROCESS)
        for name in places
    ]
    ends = {name: Counter[str]() for name in places}
    bad, began = 0, time.monotonic()
    # Forked, so that each has what was imported here.
    forked = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(arguments.workers, mp_context=forked) as pool:
        for name, found in pool.map(functools.partial(_batch, folder), batches):
            ends[name].update(what for what, _ in found)
            bad += sum(bool(problem) for _, problem in found)
            print(f"{name:<24}{ends[name].total():>7} {dict(ends[name])}", flush=True)
    tried, seconds = sum(x.total() for x in ends.values()), time.monotonic() - began
    print(f"{bad} cases of {tried} ended as they must not ({seconds:.0f} s)")
    return int(bool(bad))


def _batch(folder: Path, batch: tuple[str, int, int]) -> tuple[str, list[tuple[str, str]]]:
    """Try some cases of a place; a problem is printed when it is found."""
    found = []
    for what, problem in cases_of(folder / f"scene-{os.getpid()}", *batch):
        found.append((what, problem))
        if problem:
            print(problem, flush=True)
    return batch[0], found


def cases_of(folder: Path, name: str, first: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield how each case ended, and what is wrong with that."""
    at, end = first, first + count
    while at < end:
        child = Child(functools.partial(_try, folder, name, at, end), PATIENCE_SECONDS)
        problem = ""
        for seed, what, problem in child:
            at = seed + 1
            yield what, f"{name} {seed}: {what}: {problem}" if problem else ""
        if at < end and not problem:
            yield "died", f"{name} {at}: its process {child.end}"
            at += 1


def _try(folder: Path, name: str, first: int, until: int) -> Iterator[Case]:
    from tests.security.fuzzing.cases import Trial
    from tests.security.fuzzing.scenes import PLACES, Scene, prepare_host, record_flow_run
    from tests.support.folder_registry import folder_registry

    _repeatable(name)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA_BYTES, MOST_DATA_BYTES))
    shutil.rmtree(folder, ignore_errors=True)
    template, case = folder / "template", folder / "case"
    case.mkdir(parents=True)
    with folder_registry(case / "oci") as host:
        from ommx_prefect.testing._scene import new_id

        place = PLACES[name]
        scene = Scene(case, place, new_id(), host)
        if place.shared:
            list(Child(lambda: _recorded(scene), PATIENCE_SECONDS))
        os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(case / "registry")
        if not place.shared:
            record_flow_run(scene)
        prepare_host(scene)
        shutil.copytree(case, template)
        trial = Trial(scene, template)
        for seed in range(first, until):
            outcome = trial.case(seed)
            yield seed, outcome.what, outcome.problem
            if outcome.problem:
                return


def _repeatable(seed: str) -> None:
    """Let this process make the ids that it made last time, so that a case can be tried again."""
    dice = random.Random(seed)
    uuid.uuid4 = lambda: uuid.UUID(int=dice.getrandbits(128), version=4)


def _recorded(scene: object) -> Iterator[Case]:
    """Record on another host: in a process with another Local Registry."""
    from tests.security.fuzzing.scenes import Scene, record_flow_run

    assert isinstance(scene, Scene)
    _repeatable("worker")
    os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(scene.folder / "worker")
    record_flow_run(scene)
    yield 0, "", ""


if __name__ == "__main__":
    sys.exit(main())
