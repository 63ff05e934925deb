"""Which futures of tasks a seal waits for and accounts for, without a server."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import Future

import pytest
from prefect.futures import PrefectConcurrentFuture

from ommx_prefect._flowrun import pending


@pytest.fixture
def root():
    root = str(uuid.uuid4())
    yield root
    pending.forget_task_runs(root)


def future() -> PrefectConcurrentFuture:
    return PrefectConcurrentFuture(uuid.uuid4(), Future())


def test_a_task_that_a_signal_ends_does_not_end_the_seal_that_waits_for_it(root):
    stopped = future()
    pending._remember(root, stopped)
    end = threading.Timer(0.3, stopped.wrapped_future.set_exception, [KeyboardInterrupt("its")])
    end.start()
    try:
        assert pending.wait_for_pending(root, 10) == 0
    except KeyboardInterrupt:  # which would end all tests
        pytest.fail("the task's end was taken for the seal's")
    end.join()


def test_task_runs_are_accounted_for_only_where_their_flow_run_is(root):
    elsewhere, futures = str(uuid.uuid4()), [future(), future()]
    pending.expect_task_runs(root)
    for flow_run_id, submitted in zip((elsewhere, root), futures, strict=True):
        pending._remember(flow_run_id, submitted)
        submitted.wrapped_future.set_result(1)
    assert not pending.expects_task_runs(elsewhere)
    assert pending.expected_task_runs(root) == {str(futures[1].task_run_id)}


def test_a_task_run_that_has_no_name_yet_is_called_by_its_task(root, monkeypatch):
    said = []
    monkeypatch.setattr(pending, "warn", said.append)
    waits = future()
    pending._remember(root, waits, "solve")
    assert pending.wait_for_pending(root, 0.1) == 1
    assert said[0].startswith(f"1 submitted task runs (solve {waits.task_run_id}) had not ended")
    waits.wrapped_future.set_result(1)
