"""Query Prefect's API: always with explicit ids, limits and sort order, and a short timeout.

Servers answer late (20-30 ms per task run), forget (an ephemeral one at its exit), and keep
killed task runs Running for ever; so nothing here decides what is recorded.
"""

from __future__ import annotations

import contextlib
import functools
import ssl
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_TLS_INSECURE_SKIP_VERIFY

from ommx_prefect._prefect.labels import HOST_LABEL, TASK_LABEL, TASK_RUN_LABEL
from ommx_prefect._prefect.states import RUN_STATUS
from ommx_prefect._values.secrets import redact_known

PAGE = 200
POLL_SECONDS = 0.25
# How long a seal waits for task runs that its shards do not explain.
EXPLAIN_SECONDS = 10.0
# Those of a process that is gone get no new state; what it has sent is taken in soon.
GONE_SECONDS = 3.0
# A temporary server takes in some 30 task runs a second. How long it is given for those of which
# shards tell all: after a small flow run nothing is in flight then when it ends.
EPHEMERAL_SECONDS = 5.0


@dataclass(frozen=True)
class TaskRunRow:
    """What the API knows of a task run.

    Attributes:
        task_run_id: Its id.
        flow_run_id: Id of the flow run that ran it.
        name: Name of the task run, without secrets.
        state: Name of its state.
        status: The status of a Run that ended in that state.
        is_final: Whether it has ended, or will never begin.
        is_subflow: Whether it stands for a subflow run.
        attempt: Its run count.
        flow_attempt: The flow run's run count.
        started_at: When its last attempt began, in seconds since the epoch.
        task_of_recording: Name of the task, where a recording has said so; otherwise empty.
        host: Where that was.
    """

    task_run_id: str
    flow_run_id: str
    name: str
    state: str
    status: str | None
    is_final: bool
    is_subflow: bool
    attempt: int = 0
    flow_attempt: int = 0
    started_at: float = 0.0
    task_of_recording: str = ""
    host: str = ""


@contextlib.contextmanager
def api_client() -> Iterator[SyncPrefectClient]:
    """Open a synchronous client; it works in hooks of sync and async flows alike."""
    # Prefect gives out that of a sync flow run again where nobody asks for settings of their own.
    settings = None if SyncClientContext.get() else _tls_settings()
    with get_client(sync_client=True, httpx_settings=settings) as client:
        yield client


def _tls_settings() -> dict[str, ssl.SSLContext] | None:
    """Return the TLS context of a Prefect client; None leaves it to Prefect."""
    if PREFECT_API_TLS_INSECURE_SKIP_VERIFY.value():
        return None
    return {"verify": _trusting(PREFECT_API_SSL_CERT_FILE.value())}


@functools.cache
def _trusting(certificates: str | None) -> ssl.SSLContext:
    """Read the trusted certificates once: Prefect does for each client, which takes 30 ms."""
    if certificates:
        return ssl.create_default_context(cafile=certificates)
    return httpx.create_ssl_context(trust_env=False)


def read_flow_run(client: SyncPrefectClient, flow_run_id: str) -> FlowRun:
    """Read a flow run."""
    return client.read_flow_run(UUID(flow_run_id))


def find_flow_name(client: SyncPrefectClient, flow_run: FlowRun) -> str:
    """Return the name of the flow of a flow run; empty where Prefect does not tell."""
    try:
        return client.read_flow(flow_run.flow_id).name
    except Exception:  # a name is no reason to fail
        return ""


def find_flow_of(flow_run_id: str) -> str:
    """Return the name of the flow of a flow run by its id; empty where Prefect does not tell."""
    with contextlib.suppress(Exception), api_client() as client:
        return find_flow_name(client, read_flow_run(client, flow_run_id))
    return ""


def find_night(flow_run: FlowRun) -> FlowRun:
    """Return the outermost flow run around a flow run; itself, where it is no subflow.

    A subflow's run is made anew where its parent is retried; what was scheduled is the parent.
    """
    with contextlib.suppress(Exception), api_client() as client:
        while flow_run.parent_task_run_id is not None:
            tracked = client.read_task_run(flow_run.parent_task_run_id)
            if tracked.flow_run_id is None:
                break
            flow_run = client.read_flow_run(tracked.flow_run_id)
    return flow_run


def find_deployment_name(deployment_id: str) -> str:
    """Return the name of a deployment; nothing where there is none, or it cannot be asked for."""
    if not deployment_id:
        return ""
    with contextlib.suppress(Exception), api_client() as client:
        return client.read_deployment(UUID(deployment_id)).name
    return ""


def read_task_runs(client: SyncPrefectClient, flow_run_ids: Collection[str]) -> list[TaskRunRow]:
    """Read all task runs of some flow runs, page by page."""
    flow_runs = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(x) for x in flow_run_ids]))
    rows: list[TaskRunRow] = []
    while True:
        page = client.read_task_runs(
            flow_run_filter=flow_runs,
            sort=TaskRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE,
            offset=len(rows),
        )
        rows.extend(map(_row, page))
        if len(page) < PAGE:
            return rows


def read_lone_task_runs(
    client: SyncPrefectClient, task_run_ids: Collection[str]
) -> list[TaskRunRow]:
    """Read task runs outside flows, as far as the API knows them."""
    rows: list[TaskRunRow] = []
    for task_run_id in task_run_ids:
        with contextlib.suppress(ObjectNotFound):
            rows.append(_row(client.read_task_run(UUID(task_run_id))))
    return rows


def find_task_run_names(task_run_ids: Collection[str]) -> dict[str, str]:
    """Return the names of task runs by id, as far as the API knows them and can be asked."""
    with contextlib.suppress(Exception), api_client() as client:
        return {x.task_run_id: x.name for x in read_lone_task_runs(client, task_run_ids)}
    return {}


def _row(run: TaskRun) -> TaskRunRow:
    state = run.state  # None for a moment, while the server takes the task run in
    return TaskRunRow(
        task_run_id=str(run.id),
        flow_run_id=str(run.flow_run_id or ""),
        name=redact_known(str(run.labels.get(TASK_RUN_LABEL, run.name))),
        state=(state.name or "") if state else "",
        status=RUN_STATUS[state.type] if state else None,
        # NotReady is Pending for ever: its task run was never started.
        is_final=state is not None and (state.is_final() or state.name == "NotReady"),
        is_subflow=state is not None and state.state_details.child_flow_run_id is not None,
        attempt=run.run_count,
        flow_attempt=run.flow_run_run_count,
        started_at=run.start_time.timestamp() if run.start_time else 0.0,
        task_of_recording=str(run.labels.get(TASK_LABEL, "")),
        host=str(run.labels.get(HOST_LABEL, "")),
    )


def await_task_runs(
    client: SyncPrefectClient,
    flow_run_ids: Collection[str],
    explained: Collection[str],
    unexplained: Collection[str],
    gone: Collection[str],
    *,
    ended_elsewhere: bool = False,
) -> list[TaskRunRow]:
    """Read task runs, waiting (bounded) until the unexplained ones are listed and final.

    For those whose process is gone it does not wait long: most are Running for ever. With an
    ephemeral server it waits for the explained ones too, a little: that server ends with the
    script, and what it has not taken in by then is lost to it, with a traceback for each batch.

    Args:
        client: A client of the API.
        flow_run_ids: Ids of the flow run and of its subflow runs.
        explained: Task runs of which a shard tells how they ended.
        unexplained: Task runs that run, or were begun here, and left no shard.
        gone: Task runs that were cut off.
        ended_elsewhere: Another process has just ended, and nobody here knows which task runs it
            had: waits for the explained and the listed ones too, as long as more are taken in.
    """
    expected = {*unexplained, *gone}
    timeout_seconds = EXPLAIN_SECONDS if unexplained else GONE_SECONDS if gone else 0.0
    is_ephemeral = client.server_type == ServerType.EPHEMERAL
    if ended_elsewhere and not is_ephemeral:
        return _await_steady(client, flow_run_ids, {*expected, *explained}, timeout_seconds)
    if is_ephemeral:
        expected |= set(explained)
        timeout_seconds = max(timeout_seconds, EPHEMERAL_SECONDS)
    deadline = time.monotonic() + timeout_seconds
    while True:
        rows = read_task_runs(client, flow_run_ids)
        if _final(rows).issuperset(expected) or time.monotonic() >= deadline:
            return rows
        _pause()


def _await_steady(
    client: SyncPrefectClient,
    flow_run_ids: Collection[str],
    expected: set[str],
    timeout_seconds: float,
) -> list[TaskRunRow]:
    """Read task runs until nothing is open and nothing new comes, or nothing new came for long."""
    rows: list[TaskRunRow] = []
    deadline = time.monotonic() + max(timeout_seconds, GONE_SECONDS)
    while True:
        before, rows = rows, read_task_runs(client, flow_run_ids)
        final, now = _final(rows), time.monotonic()
        if rows != before:
            deadline = max(deadline, now + GONE_SECONDS)
        elif final.issuperset(expected | {x.task_run_id for x in rows}) or now >= deadline:
            return rows
        _pause()


def _final(rows: Collection[TaskRunRow]) -> set[str]:
    return {row.task_run_id for row in rows if row.is_final}


def _pause() -> None:
    threading.Event().wait(POLL_SECONDS)  # not `time.sleep`, which users' tests replace
