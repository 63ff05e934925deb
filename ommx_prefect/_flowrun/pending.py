"""Task runs that this process has submitted or begun: a flow hook can fire before they end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, PrefectFutureList

from ommx_prefect._flowrun.context import root_flow_run_id_of

_pending: dict[str, set[PrefectFuture[Any]]] = defaultdict(set)
# Every task run that was submitted here, or began here: one whose record is lost, or that a worker
# never began, leaves no other trace.
_expected: dict[str, set[str]] = defaultdict(set)
_lock = threading.Lock()


def remember_future(submitted: Any) -> Any:
    """Remember a future, or a list of them, until it is done; return it unchanged."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        root_flow_run_id = root_flow_run_id_of(context)
        for future in _futures_in(submitted):
            _remember(root_flow_run_id, future)
    return submitted


def wait_for_pending(root_flow_run_id: str, timeout_seconds: float) -> int:
    """Wait for the submitted tasks of a flow run; return how many are still running."""
    deadline = time.monotonic() + timeout_seconds
    while (futures := _of(root_flow_run_id)) and time.monotonic() < deadline:
        for future in futures:
            with contextlib.suppress(Exception):  # a broken worker: it has ended all the same
                future.wait(max(0.0, deadline - time.monotonic()))
            if time.monotonic() < deadline:
                _forget(root_flow_run_id, future)
    return len(_of(root_flow_run_id))


def expect_task_runs(root_flow_run_id: str) -> None:
    """Account for the task runs that begin here: this process runs the flow, and will seal it."""
    with _lock:
        _expected.setdefault(root_flow_run_id, set())


def remember_task_run(root_flow_run_id: str, task_run_id: str) -> None:
    """Remember a task run that begins here, where its flow run is accounted for."""
    with _lock:
        if root_flow_run_id in _expected:
            _expected[root_flow_run_id].add(task_run_id)


def expected_task_runs(root_flow_run_id: str) -> set[str]:
    """Return the ids of the task runs that this process knows of a flow run."""
    with _lock:
        return set(_expected.get(root_flow_run_id, ()))


def forget_task_runs(root_flow_run_id: str) -> None:
    """Let go of the ids, once a seal has accounted for them."""
    with _lock:
        _expected.pop(root_flow_run_id, None)


def _remember(root_flow_run_id: str, future: PrefectFuture[Any]) -> None:
    with _lock:
        _pending[root_flow_run_id].add(future)
        _expected[root_flow_run_id].add(str(future.task_run_id))
    future.add_done_callback(lambda done: _forget(root_flow_run_id, done))


def _forget(root_flow_run_id: str, future: PrefectFuture[Any]) -> None:
    with _lock:
        _pending[root_flow_run_id].discard(future)
        if not _pending[root_flow_run_id]:
            del _pending[root_flow_run_id]


def _of(root_flow_run_id: str) -> list[PrefectFuture[Any]]:
    with _lock:
        return list(_pending.get(root_flow_run_id, ()))


def _futures_in(submitted: Any) -> Iterable[PrefectFuture[Any]]:
    if isinstance(submitted, PrefectFuture):
        return (submitted,)
    return submitted if isinstance(submitted, PrefectFutureList) else ()
