"""A seal waits for what this process still executes, not for ever, and says so."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import pytest
from prefect.task_runners import ThreadPoolTaskRunner

from ommx_prefect import flow, task
from ommx_prefect._flowrun import pending
from ommx_prefect._settings import OmmxSettings
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@task
def later(x):
    return x


@task
def slow(seconds):
    time.sleep(seconds)
    return seconds


def test_deferred_tasks_are_not_waited_for():
    @flow
    def defers():
        later.map([1, 2], deferred=True)
        later.apply_async((3,))
        return slow(0.0)

    begin = time.monotonic()
    sealed = run_flow(defers)
    assert time.monotonic() - begin < 100  # it was 24 hours
    assert sealed.statuses == ["finished"]


def test_the_wait_is_logged_and_ends_by_itself(caplog, monkeypatch):
    monkeypatch.setattr(pending, "FIRST_SAID_SECONDS", 0.2)
    caplog.set_level(logging.INFO)

    named = slow.with_options(task_run_name="nap of {seconds} s")

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def leaves():
        named.submit(4.0)

    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    try:
        sealed = run_flow(leaves)
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(logging.NOTSET)
    assert sealed.statuses == ["finished"]
    said = [record.getMessage() for record in caplog.records if "Waiting to seal" in record.msg]
    assert said
    [task_run_id] = sealed.column("prefect.task_run_id")
    assert f"1 submitted task runs (nap of 4.0 s {task_run_id})" in said[-1]
    assert "PREFECT_INTEGRATIONS_OMMX_PENDING_SECONDS" in said[0]


def test_the_bound_is_a_setting(monkeypatch):
    assert OmmxSettings().pending_seconds == 24 * 3600
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_PENDING_SECONDS", "0.5")
    assert OmmxSettings().pending_seconds == 0.5

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def leaves():
        slow.submit(8.0)

    state = leaves(return_state=True)
    assert state.is_completed()


NO_SLEEP = """
import threading, time
from ommx_prefect import task

calls = []

@task
def work():
    threading.Event().wait(1.0)
    return 1

def sleep(seconds):
    if threading.current_thread().name.startswith("ommx-prefect"):
        calls.append(seconds)
    slept(seconds)

slept, time.sleep = time.sleep, sleep
assert work() == 1
print(calls)
"""


def test_a_users_time_sleep_is_none_of_our_threads(server):
    done = subprocess.run(
        [sys.executable, "-c", NO_SLEEP], capture_output=True, text=True, timeout=200
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
