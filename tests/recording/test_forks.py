"""A recording belongs to the process that opened it; what forks of it record is refused."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

import pytest

from ommx_prefect import checkpoint, current_run, exceptions, flow, task
from tests.support.reading import run_flow

pytestmark = [
    pytest.mark.usefixtures("server"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def logs(x):
    current_run().log_parameter("lost", x)


def checkpoints(x):
    checkpoint(lost=x)


def checkpoints_in_a_thread(x):
    """Do as a solver does that calls back in a thread of its own."""
    caught = []

    def call():
        try:
            checkpoint(lost=x)
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    raise caught[0]


@pytest.mark.parametrize("work", [logs, checkpoints, checkpoints_in_a_thread])
def test_what_forked_workers_record_is_refused_with_the_cure(work):
    @task
    def spread():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            error = pool.submit(work, 1).exception()
        current_run().log_parameter("kept", 2)
        checkpoint(also=3)
        return type(error).__name__, "spread" in str(error), "Return the values" in str(error)

    @flow
    def one():
        return spread()

    sealed = run_flow(one)
    assert sealed.state.result() == ("ForkedProcessError", True, True)
    assert sealed.statuses == ["finished"]
    assert (sealed.column("kept"), sealed.column("also"), sealed.column("lost")) == (
        [2],
        [3],
        [None],
    )
    assert issubclass(exceptions.ForkedProcessError, exceptions.NoOpenRunError)


HELD = []


def logs_on_a_run_it_has():
    HELD[0].log_parameter("lost", 1)


def attaches_to_a_run_it_has():
    HELD[0].log_json("lost", 1)


@pytest.mark.parametrize("work", [logs_on_a_run_it_has, attaches_to_a_run_it_has])
def test_a_run_that_was_taken_before_the_fork_is_refused_too(work):
    @task
    def spread():
        HELD[:] = [current_run()]
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
            error = pool.submit(work).exception()
        HELD.pop().log_parameter("kept", 2)
        return type(error).__name__

    @flow
    def one():
        return spread()

    sealed = run_flow(one)
    assert sealed.state.result() == "ForkedProcessError"
    assert (sealed.column("kept"), sealed.column("lost")) == ([2], [None])
    assert "lost" not in sealed.runs[0].attachment_names


@pytest.mark.parametrize("ends", ["exits", "raises", "returns"])
def test_a_forked_child_that_ends_leaves_the_records_to_its_parent(ends):
    @task
    def forks():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            os.dup2(write, 9)
            if ends == "raises":
                raise RuntimeError("in the child")
            if ends == "exits":
                sys.exit(3)
            return "of the child"
        os.close(write)
        os.read(read, 1)  # until the child's process has ended
        os.waitpid(pid, 0)
        current_run().log_parameter("of_the_parent", True)
        return "of the parent"

    @flow
    def one():
        parent = os.getpid()
        try:
            return forks()
        finally:
            if os.getpid() != parent:
                os._exit(0)

    sealed = run_flow(one)
    assert sealed.state.result() == "of the parent"
    assert sealed.statuses == ["finished"]
    assert sealed.column("of_the_parent") == [True]
    assert sealed.runs[0].get_json("output") == "of the parent"


def test_a_forked_child_seals_nothing():
    @flow
    def one():
        pid = os.fork()
        if pid == 0:
            return "of the child"
        os.waitpid(pid, 0)
        marker()
        return "of the parent"

    @task
    def marker():
        return 1

    parent = os.getpid()
    try:
        sealed = run_flow(one)
    finally:
        if os.getpid() != parent:
            os._exit(0)
    assert sealed.state.result() == "of the parent"
    assert sealed.statuses == ["finished"]
