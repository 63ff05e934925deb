"""Change whole stages, seal them, and look whether all is as it must be (see `fuzzing.cases`).

    python -m tests.security.fuzz_stages --cases 10000

shares the cases among the kinds of places, prints a table of how they ended, and exits with 1 when
one ended as it must not. `--only disk --seed 17 --cases 1` tries one case again.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.watchdog import guarded_folder

# Cases of one process: what stays in a Local Registry makes each seal a little slower.
CASES_OF_A_PROCESS = 100
# A process that says nothing for so long stands still.
PATIENCE_SECONDS = 60


def main() -> int:
    """Try all cases; 0 where each ended as it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--only", default="", help="the place: local, disk, oci, ...")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    folder = guarded_folder("ommx-prefect-fuzz-")
    os.environ |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    os.environ.pop("PREFECT_API_URL", None)
    return _run(folder, arguments)


def _run(folder: Path, arguments: argparse.Namespace) -> int:
    from tests.security.fuzzing.scenes import PLACES

    places = [x for x in PLACES if arguments.only in ("", x)]
    each = -(-arguments.cases // len(places))
    ends = {name: Counter[str]() for name in places}
    bad, began = 0, time.monotonic()
    for at in range(0, each, CASES_OF_A_PROCESS):  # in turns, so that a part tells of all places
        for name in places:
            first = arguments.seed + at
            for what, problem in _cases(folder, name, first, min(CASES_OF_A_PROCESS, each - at)):
                ends[name][what] += 1
                if problem:
                    bad += 1
                    print(problem, flush=True)
            print(f"{name:<24}{ends[name].total():>7} {dict(ends[name])}", flush=True)
    print(f"{bad} cases ended as they must not ({time.monotonic() - began:.0f} s)")
    return int(bool(bad))


def _cases(folder: Path, name: str, first: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield how each case ended, and what is wrong with that."""
    at, end = first, first + count
    while at < end:
        work = functools.partial(_try, folder / "scene", name, at, end)
        for seed, what, problem in _told(work):
            at = seed + 1
            yield what, f"{name} {seed}: {what}: {problem}" if problem else ""
        if at < end:
            yield "died", f"{name} {at}: its process died, or stood still"
            at += 1


def _told(work: Callable[[], Iterator[tuple[int, str, str]]]) -> Iterator[tuple[int, str, str]]:
    """Do something in a process of its own, and yield what it yields as it comes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os._exit(_child(writing, work))
    os.close(writing)
    with open(reading) as lines:
        for line in lines:
            seed, what, problem = json.loads(line)
            yield seed, what, problem
    os.waitpid(pid, 0)


def _child(writing: int, work: Callable[[], Iterator[tuple[int, str, str]]]) -> int:
    import traceback

    try:
        for answer in work():
            os.write(writing, (json.dumps(answer) + "\n").encode())
            signal.alarm(PATIENCE_SECONDS)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    return 0


def _try(folder: Path, name: str, first: int, until: int) -> Iterator[tuple[int, str, str]]:
    from tests.security.fuzzing.cases import Trial
    from tests.security.fuzzing.scenes import PLACES, Scene, prepare_host, record_flow_run
    from tests.support.folder_registry import folder_registry

    shutil.rmtree(folder, ignore_errors=True)
    template, case = folder / "template", folder / "case"
    case.mkdir(parents=True)
    with folder_registry(case / "oci") as host:
        from ommx_prefect.testing._scene import new_id

        place = PLACES[name]
        scene = Scene(case, place, new_id(), host)
        if place.shared:
            list(_told(lambda: _recorded(scene)))
        os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(case / "registry")
        if not place.shared:
            record_flow_run(scene)
        prepare_host(scene)
        shutil.copytree(case, template)
        trial = Trial(scene, template)
        for seed in range(first, until):
            outcome = trial.case(seed)
            yield seed, outcome.what, outcome.problem


def _recorded(scene: object) -> Iterator[tuple[int, str, str]]:
    """Record on another host: in a process with another Local Registry."""
    from tests.security.fuzzing.scenes import Scene, record_flow_run

    assert isinstance(scene, Scene)
    os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(scene.folder / "worker")
    record_flow_run(scene)
    yield 0, "", ""


if __name__ == "__main__":
    sys.exit(main())
