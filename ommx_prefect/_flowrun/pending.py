"""Track the task runs that this process has started: a flow hook can run before they end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from prefect.context import FlowRunContext
from prefect.futures import PrefectDistributedFuture, PrefectFuture, PrefectFutureList

from ommx_prefect._flowrun.context import root_flow_run_id_of
from ommx_prefect._memory.forks import process_lock
from ommx_prefect._prefect.api import find_task_run_names
from ommx_prefect._prefect.log import logger, warn, warn_once
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import redact_known

T = TypeVar("T")

# When it is said first, and again, what is waited for; and how many of it at most.
FIRST_SAID_SECONDS = 3.0
SAID_AGAIN_SECONDS = 300.0
MOST_SHOWN = 5
BOUND = "PREFECT_INTEGRATIONS_OMMX_PENDING_SECONDS"

# The futures of each flow run, with the names of their tasks.
_pending: dict[str, dict[PrefectFuture[Any], str]] = defaultdict(dict)
# Every task run that was submitted here, or began here: one whose record is lost, or that a worker
# never began, leaves no other trace.
_expected: dict[str, set[str]] = {}
_lock = process_lock()


def remember_future(submitted: T, task: str = "") -> T:
    """Remember a future, or a list of them, until it is done; return it unchanged.

    Args:
        submitted: What Prefect returned.
        task: The name of the task, for people.
    """
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        try:
            root_flow_run_id = root_flow_run_id_of(context)
            for future in _futures_in(submitted):
                _remember(root_flow_run_id, future, task)
        except Exception as error:  # the task is submitted, whatever a task runner's future is
            warn_once(f"A seal will not wait for a submitted task: {describe_error(error)}")
    return submitted


def wait_for_pending(root_flow_run_id: str, timeout_seconds: float | None = None) -> int:
    """Wait for the submitted tasks of a flow run; return how many are still running.

    Args:
        root_flow_run_id: Id of the flow run.
        timeout_seconds: How long at most; None for the setting.
    """
    if timeout_seconds is None:
        timeout_seconds = OmmxSettings().pending_seconds
    if timeout_seconds > 0 and _of(root_flow_run_id):
        with _said_while_waiting(root_flow_run_id, timeout_seconds):
            _wait(root_flow_run_id, time.monotonic() + timeout_seconds)
        if left := _of(root_flow_run_id):
            warn(
                f"{_shown(left)} had not ended after {timeout_seconds:g} s: the experiment is "
                "sealed without what they record, and a later seal takes it"
            )
    return len(_of(root_flow_run_id))


def _wait(root_flow_run_id: str, deadline: float) -> None:
    while (futures := _of(root_flow_run_id)) and time.monotonic() < deadline:
        for future in futures:
            _await(future, max(0.0, deadline - time.monotonic()))
            if time.monotonic() < deadline:
                _forget(root_flow_run_id, future)


def _await(future: PrefectFuture[Any], seconds: float) -> None:
    try:
        future.wait(seconds)
    except Exception:  # a broken worker: it has ended all the same
        return
    except BaseException:  # a task's in its thread, which the future hands on; or a Ctrl-C here
        is_done = getattr(getattr(future, "wrapped_future", None), "done", None)
        if is_done is None or not is_done():
            raise


@contextlib.contextmanager
def _said_while_waiting(root_flow_run_id: str, timeout_seconds: float) -> Iterator[None]:
    """Log the tasks that are waited for, and for how long at most, while the block runs."""
    is_over, log = threading.Event(), logger()

    def say() -> None:
        pause = FIRST_SAID_SECONDS
        while not is_over.wait(pause):
            said = "Waiting to seal until %s ended, at most %g s (%s)"
            log.info(said, f"{_shown(_of(root_flow_run_id))} have", timeout_seconds, BOUND)
            pause = SAID_AGAIN_SECONDS

    thread = threading.Thread(target=say, name="ommx-prefect-pending", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _shown(futures: Mapping[PrefectFuture[Any], str]) -> str:
    """Name some submitted task runs: by Prefect's names, or their tasks' before it has any."""
    tasks = {str(future.task_run_id): task for future, task in futures.items()}
    ids = sorted(tasks)[:MOST_SHOWN]
    names = find_task_run_names(ids)
    shown = redact_known(", ".join(f"{names.get(x) or tasks[x]} {x}".lstrip() for x in ids))
    more = f" and {len(tasks) - MOST_SHOWN} more" if len(tasks) > MOST_SHOWN else ""
    return f"{len(tasks)} submitted task runs ({shown}{more})"


def expect_task_runs(root_flow_run_id: str) -> None:
    """Begin to collect the ids of a flow run's task runs: this process runs and seals it."""
    with _lock:
        _expected.setdefault(root_flow_run_id, set())


def remember_task_run(root_flow_run_id: str, task_run_id: str) -> None:
    """Remember a task run that begins here, if its flow run's task runs are collected."""
    with _lock:
        if root_flow_run_id in _expected:
            _expected[root_flow_run_id].add(task_run_id)


def expects_task_runs(root_flow_run_id: str) -> bool:
    """Tell whether this process collects the ids of a flow run's task runs."""
    with _lock:
        return root_flow_run_id in _expected


def expected_task_runs(root_flow_run_id: str) -> set[str]:
    """Return the ids of the task runs that this process knows of a flow run."""
    with _lock:
        return set(_expected.get(root_flow_run_id, ()))


def ended_of_known(root_flow_run_id: str) -> tuple[int, int]:
    """Return how many task runs this process has seen end, and how many it knows of.

    A task that is called, and not submitted, counts as ended when it has begun.
    """
    with _lock:
        known = len(_expected.get(root_flow_run_id, ()))
        return max(0, known - len(_pending.get(root_flow_run_id, ()))), known


def forget_task_runs(root_flow_run_id: str) -> None:
    """Forget the ids, once a seal has used them."""
    with _lock:
        _expected.pop(root_flow_run_id, None)


def _remember(root_flow_run_id: str, future: PrefectFuture[Any], task: str = "") -> None:
    with _lock:
        _pending[root_flow_run_id][future] = task
        # Elsewhere than in the process that will seal the flow run nobody would let go of it.
        if root_flow_run_id in _expected:
            _expected[root_flow_run_id].add(str(future.task_run_id))
    future.add_done_callback(lambda done: _forget(root_flow_run_id, done))


def _forget(root_flow_run_id: str, future: PrefectFuture[Any]) -> None:
    with _lock:
        _pending[root_flow_run_id].pop(future, None)
        if not _pending[root_flow_run_id]:
            del _pending[root_flow_run_id]


def _of(root_flow_run_id: str) -> dict[PrefectFuture[Any], str]:
    with _lock:
        return dict(_pending.get(root_flow_run_id, {}))


def _futures_in(submitted: Any) -> Iterable[PrefectFuture[Any]]:
    """Return the futures of task runs that this process, or its task runner, executes.

    A deferred task run is executed by whoever serves the task, perhaps never: nobody waits for it,
    and what it records after the seal is sealed by itself.
    """
    given = submitted if isinstance(submitted, (list, PrefectFutureList)) else [submitted]
    # With `return_state=True` there are states, of task runs that have ended.
    futures = [x for x in given if isinstance(x, PrefectFuture)]
    return [x for x in futures if not isinstance(x, PrefectDistributedFuture)]
