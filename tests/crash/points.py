"""The sealing process dies, at every point of sealing; a fresh one seals again."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.crash.judge import Row
from tests.crash.scene import FLOWS, HERE, Suite, flow_of, python

SEALING = HERE / "sealing.py"
AT_ONCE = 2


def sealing_dies(suite: Suite, row: Row, status: str) -> None:
    """Kill the sealing process at each point, or every n-th of them from a random one."""
    template, flow_run_id = _unsealed_registry(suite, sealed_before=status == "finished")
    with _sealers(template, flow_run_id, status) as kill_at:
        wanted = kill_at(None)
        first = 1 + suite.chance.randrange(suite.every)
        points = range(first, wanted["points"] + 1, suite.every)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for point, found in zip(points, pool.map(kill_at, points), strict=True):
                _compare(row, point, wanted, found)


def _compare(row: Row, point: int, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    row.times += 1
    row.ended += len(wanted["runs"])
    row.found += len(found["runs"])
    lost = [run for run in wanted["runs"] if run not in found["runs"]]
    doubled = [run for run in found["runs"] if run not in wanted["runs"]]
    row.blame(f"point {point}", lost, doubled)
    if differs := [k for k in wanted if k != "points" and wanted[k] != found[k]]:
        row.problems.append(f"point {point}: {[(wanted[k], found[k]) for k in differs]}")


def _unsealed_registry(suite: Suite, *, sealed_before: bool) -> tuple[Path, str]:
    """A registry of its own with a killed flow run; perhaps with an earlier seal of half of it."""
    journal, registry = suite.journal(), suite.new_folder("registry")
    process = python(FLOWS, "one_by_one", journal, env={"OMMX_LOCAL_REGISTRY_ROOT": str(registry)})
    flow_run_id, _ = flow_of(journal)
    suite.wait_for_steps(journal)
    process.kill()
    process.wait()
    if sealed_before:
        shards = registry / "ommx-prefect" / flow_run_id / "shards"
        aside = registry / "aside"
        aside.mkdir()
        held_back = sorted(shards.iterdir())[::2]
        for shard in held_back:  # their attempts are called cut off, and come after all
            shard.rename(aside / shard.name)
        with _Sealer() as sealer:
            sealer.seal(registry, flow_run_id, "interrupted")
        for shard in held_back:
            (aside / shard.name).rename(shards / shard.name)
    return registry, flow_run_id


@contextlib.contextmanager
def _sealers(template: Path, flow_run_id: str, status: str) -> Iterator[Any]:
    """Give a function that seals copies of a registry, killed at a point before or not at all."""
    idle: SimpleQueue[_Sealer] = SimpleQueue()

    def kill_at(point: int | None) -> dict[str, Any]:
        sealer = idle.get()
        registry = template.with_name(f"{template.name}-{point}")
        shutil.copytree(template, registry)
        try:
            if point is None:
                return sealer.seal(registry, flow_run_id, status, "count")
            sealer.kill(registry, flow_run_id, status, point)
            return sealer.seal(registry, flow_run_id, status)
        finally:
            shutil.rmtree(registry)
            idle.put(sealer)

    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            idle.put(stack.enter_context(_Sealer()))
        yield kill_at


class _Sealer:
    """The process of sealing.py, which forks one for every seal."""

    def __enter__(self) -> _Sealer:
        command = [sys.executable, str(SEALING)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # it ends with its requests

    def seal(
        self, registry: Path, flow_run_id: str, status: str, what: str = "seal"
    ) -> dict[str, Any]:
        code, printed = self._ask(str(registry), flow_run_id, status, what)
        if code != 0:
            raise AssertionError(printed)
        found: dict[str, Any] = json.loads(printed)
        return found

    def kill(self, registry: Path, flow_run_id: str, status: str, point: int) -> None:
        code, printed = self._ask(str(registry), flow_run_id, status, point)
        if code != -signal.SIGKILL:
            raise AssertionError(f"not killed at {point}: {printed}")

    def _ask(self, *request: object) -> tuple[int, str]:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code, printed = json.loads(self._process.stdout.readline())
        return code, printed
