"""The ways in which processes die, each followed by a seal and a comparison with the journal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry, Cancelling

from ommx_prefect import exceptions, load_experiment
from ommx_prefect._recovery.decision import WAITS_FOR
from ommx_prefect._recovery.recover import recover
from tests.crash.judge import Found, Row
from tests.crash.scene import (
    FLOWS,
    HERE,
    Suite,
    count,
    flow_of,
    python,
    running,
    until,
    working_pids,
)
from tests.support.places import require

# Flow -> what must be installed for it.
NEEDS = {"in_dask": ["prefect_dask"], "in_ray": ["prefect_ray"]}
OUTAGE_SECONDS = 10
# Several times as long as a step of the pool takes.
ORPHAN_SECONDS = 1.5
SERVED, POOLED = "one-by-one/crash", "one-by-one/pooled"


def settle(flow_run_id: str, status: str = "", *, by_hook: bool = False) -> None:
    """Let the hook or `recover` seal, both at once if it so happens; then recover once more."""

    def sealed() -> bool:
        if not by_hook:
            rows = list(recover(min_age_seconds=0))
            failed = [
                row.why for row in rows if row.flow_run_id == flow_run_id and row.done == "failed"
            ]
            assert not failed, failed
        with contextlib.suppress(exceptions.NotSealedError):
            return status in ("", load_experiment(flow_run_id).status)
        return False

    until(sealed, f"{flow_run_id} is sealed {status}")
    list(recover(min_age_seconds=0))


def _settle_and_judge(row: Row, journal: Path, flow_run_id: str, *, by_hook: bool = False) -> None:
    settle(flow_run_id, by_hook=by_hook)
    row.judge(journal, Found.here(flow_run_id))


# ---------------------------------------------------------------- scripts and their workers


def script_dies(
    suite: Suite, row: Row, number: int, name: str = "one_by_one", most: int = 25
) -> None:
    journal = suite.journal()
    process = python(FLOWS, name, journal)
    flow_run_id, _ = flow_of(journal)
    suite.wait_for_steps(journal, most)
    process.send_signal(number)
    process.wait(240)
    settle(flow_run_id)
    _let_orphans_end(journal, process.pid)
    _settle_and_judge(row, journal, flow_run_id)


def _let_orphans_end(journal: Path, flow_pid: int) -> None:
    """The processes of a pool outlive its flow: they do what is queued, and then stand idle."""
    orphans = [pid for pid in working_pids(journal) if pid != flow_pid]
    seen = -1
    while orphans and count(journal, "began") > seen:
        seen = count(journal, "began")
        time.sleep(ORPHAN_SECONDS)
    for pid in orphans:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def script_ends(suite: Suite, row: Row, name: str) -> None:
    journal = suite.journal()
    python(FLOWS, name, journal).wait(120)
    _settle_and_judge(row, journal, flow_of(journal)[0], by_hook=True)


def worker_process_dies(suite: Suite, row: Row, name: str, *, reruns: bool = True) -> None:
    """Kill the process that runs a step; Dask and Ray run it again, and a pool does not."""
    require(*NEEDS.get(name, ()))
    journal = suite.journal()
    process = python(FLOWS, name, journal)
    flow_run_id, _ = flow_of(journal)
    suite.wait_for_steps(journal, 6)
    with contextlib.suppress(ProcessLookupError):
        os.kill(working_pids(journal)[-1], signal.SIGKILL)
    process.wait(240)
    _settle_and_judge(row, journal, flow_run_id)
    if reruns and Found.here(flow_run_id).status != "finished":
        row.problems.append(f"{flow_run_id}: {name} did not go on after its worker died")


def server_goes_away(suite: Suite, row: Row) -> None:
    assert suite.server is not None
    journal = suite.journal()
    process = python(FLOWS, "one_by_one", journal)
    flow_run_id, _ = flow_of(journal)
    suite.wait_for_steps(journal)
    suite.server.kill()
    time.sleep(OUTAGE_SECONDS)
    suite.server.start()
    process.wait(240)
    _settle_and_judge(row, journal, flow_run_id)


# ---------------------------------------------------------------- deployed flows


def served_flow_dies(suite: Suite, row: Row, number: int | None) -> None:
    journal = suite.journal()
    with running(FLOWS, "serve", "-"):
        flow_run_id, pid = _run_deployment(SERVED, journal)
        suite.wait_for_steps(journal)
        _kill_or_cancel(flow_run_id, pid, number)
        _settle_and_judge(row, journal, flow_run_id, by_hook=True)


def worker_flow_dies(suite: Suite, row: Row, number: int | None) -> None:
    journal = suite.journal()
    with _worker():
        flow_run_id, pid = _run_deployment(POOLED, journal)
        suite.wait_for_steps(journal)
        _kill_or_cancel(flow_run_id, pid, number)
        _settle_and_judge(row, journal, flow_run_id, by_hook=True)


def worker_service_dies(suite: Suite, row: Row, number: int) -> None:
    """Killed with -9, it leaves its flow runs alone, and they run to their end."""
    journal = suite.journal()
    with _worker() as worker:
        flow_run_id, _ = _run_deployment(POOLED, journal, steps=100)
        suite.wait_for_steps(journal)
        worker.send_signal(number)
        _settle_and_judge(row, journal, flow_run_id)


def suspended_killed_and_retried(suite: Suite, row: Row) -> None:
    """A flow run that suspends itself is resumed, killed, and retried from the API.

    It is one flow run in three processes. What ended before the suspension is persisted, so that
    Prefect does not run it again.
    """
    journal = suite.journal()
    with running(FLOWS, "serve-suspended", "-"), get_client(sync_client=True) as client:
        flow_run_id, _ = _run_deployment("suspended/crash", journal, steps=60)
        run_id = UUID(flow_run_id)
        until(lambda: client.read_flow_run(run_id).state_name == "Suspended", "it is suspended")
        waits = [x.why for x in recover(min_age_seconds=0) if x.flow_run_id == flow_run_id]
        if waits != [WAITS_FOR[StateType.PAUSED]]:
            row.problems.append(f"{flow_run_id} is suspended, and recover says {waits}")
        client.resume_flow_run(run_id)
        until(lambda: count(journal, "flow") == 2, "it is resumed")
        wanted = count(journal, "ended") + suite.chance.randint(1, 25)
        until(lambda: count(journal, "ended") >= wanted, "steps end")
        os.kill(flow_of(journal)[1], signal.SIGKILL)
        settle(flow_run_id, "interrupted", by_hook=True)
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        settle(flow_run_id, "finished", by_hook=True)
    row.judge(journal, Found.here(flow_run_id))


def _kill_or_cancel(flow_run_id: str, pid: int, number: int | None) -> None:
    if number is not None:
        os.kill(pid, number)
        return
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run_id), Cancelling(), force=True)


def _run_deployment(name: str, journal: Path, steps: int = 400) -> tuple[str, int]:
    """Run a deployment; return the flow run's id and its process, once it has begun."""
    parameters = {"path": str(journal), "steps": steps}
    with get_client(sync_client=True) as client:
        deployment = until(lambda: _deployment(client, name), f"{name} is there")
        client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    return flow_of(journal)


def _deployment(client: SyncPrefectClient, name: str) -> Any:
    with contextlib.suppress(Exception):
        return client.read_deployment_by_name(name)
    return None


@contextlib.contextmanager
def _worker() -> Iterator[subprocess.Popen[bytes]]:
    with get_client(sync_client=True) as client, contextlib.suppress(Exception):
        client.create_work_pool(WorkPoolCreate(name="crash", type="process"))
    source = prefect.flow.from_source(str(HERE), entrypoint=f"{FLOWS.name}:one_by_one")
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        source.deploy(name="pooled", work_pool_name="crash", build=False)
    with running("-m", "prefect", "worker", "start", "--pool", "crash", "--type", "process") as it:
        yield it
