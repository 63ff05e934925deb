"""What dies besides the flow's processes: a registry in a push, and a disk."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client

from ommx_prefect import seal
from ommx_prefect._prefect.api import read_task_runs
from ommx_prefect._sealing.result import read_sealed
from ommx_prefect._stages.local import LocalStage
from tests.crash.deaths import settle
from tests.crash.judge import Found, Row
from tests.crash.scene import FLOWS, Suite, count, flow_of, python, until
from tests.support.registry_server import RegistryServer, running_registry
from tests.support.small_disk import small_disk

STEPS = 60

# ---------------------------------------------------------------- a registry


def registry_goes_away(suite: Suite, row: Row, *, pusher_dies: bool) -> None:
    """Kill a registry in the middle of a push; it comes back on its port, with what it had.

    The push waits for it; where its process is killed meanwhile, the next seal takes it up.
    """
    folder, journal = suite.new_folder("oci"), suite.journal()
    with running_registry(folder) as registry:
        env = {"CRASH_PUSHED_NAME": f"{registry.host}/acme/crash:{{flow_run.name}}"}
        process = python(FLOWS, "pushed", journal, env=env)
        flow_run_id, _ = flow_of(journal)
        wanted = suite.chance.randint(1, STEPS)
        until(lambda: registry.log.count("PUT") >= wanted, "blobs are pushed")
        registry.kill()
        if pusher_dies:
            process.kill()
            process.wait(240)
        row.judge(journal, Found.here(flow_run_id))  # the local seal stands
        registry.start()
        process.wait(240)
        settle(flow_run_id, "finished")
        _judge_pushed(row, folder, registry, flow_run_id, pusher_dies=pusher_dies)


def _judge_pushed(
    row: Row, folder: Path, registry: RegistryServer, flow_run_id: str, *, pusher_dies: bool
) -> None:
    before = read_sealed(LocalStage(flow_run_id))
    assert before is not None
    if pusher_dies == bool(before.sealed.pushed):
        row.problems.append(f"{flow_run_id}: pushed is {before.sealed.pushed} before the next seal")
    sealed = seal(flow_run_id)
    assert sealed.image_name.startswith(registry.host)
    if not sealed.pushed:
        row.problems.append(f"{flow_run_id}: not pushed: {sealed.push_problem}")
        return
    here, pulled = Found.here(flow_run_id), Found.in_registry(folder / "pulled", sealed.image_name)
    if here != pulled:
        row.problems.append(f"{flow_run_id}: {here} reads back as {pulled}")


# ---------------------------------------------------------------- a disk


def disk_fills_up(suite: Suite, row: Row) -> None:
    """Fill the disk of the Local Registry while steps run; make room when the script has ended."""
    journal = suite.journal()
    with small_disk(suite.new_folder("disk")) as disk:
        registry = disk / "registry"
        env = {"OMMX_LOCAL_REGISTRY_ROOT": str(registry)}
        process = python(FLOWS, "short", journal, env=env)
        flow_run_id, _ = flow_of(journal)
        suite.wait_for_steps(journal)
        with journal.open("a") as file:
            file.write("full\n")  # before: a step may end while it fills up
        _fill(disk)
        process.wait(240)
        (disk / "ballast").unlink()
        _await_task_runs(flow_run_id)
        recovered = _recover_in(registry)
        found = Found.in_registry(registry, flow_run_id)
    row.judge(journal, found)
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run_id)).state
    if count(journal, "ended") != STEPS or not state or not state.is_completed():
        row.problems.append(f"{flow_run_id}: the full disk was seen by the flow: {state}")
    if found.status != "finished" or not found.degraded:
        row.problems.append(f"{flow_run_id}: {found.status}, {found.degraded!r}, {recovered}")


def _await_task_runs(flow_run_id: str) -> None:
    """Wait until Prefect has taken in all: `recover` by itself leaves it ten minutes."""
    with get_client(sync_client=True) as client:

        def are_final() -> bool:
            return sum(row.is_final for row in read_task_runs(client, [flow_run_id])) >= STEPS

        until(are_final, "Prefect lists the steps as ended")


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def _recover_in(registry: Path) -> Any:
    env = {**os.environ, "OMMX_LOCAL_REGISTRY_ROOT": str(registry)}
    command = [sys.executable, "-m", "ommx_prefect", "recover", "--json", "--min-age", "0"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return json.loads(done.stdout) if done.stdout.startswith("[") else done.stdout
