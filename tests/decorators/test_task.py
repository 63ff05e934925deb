"""`task` is a drop-in for `prefect.task`, on every kind of function."""

from __future__ import annotations

import subprocess
import sys
import time

import prefect
import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from ommx_prefect import current_experiment, current_run, exceptions, flow, recorded, task
from tests.support.reading import run_flow, sealed_of

pytestmark = pytest.mark.usefixtures("server")


@task
def double(x):
    current_run().log_parameter("twice", 2 * x)
    return 2 * x


def _same(value):
    def same():
        return value

    return same


def test_it_takes_what_prefects_own_takes_with_and_without_parentheses():
    @task
    def bare():
        """Say hello."""

    @task(name="Named", retries=3, tags=["x"], task_run_name="run-{n}")
    def named(n: int) -> int:
        return n

    assert isinstance(bare, prefect.Task)
    assert bare.description == "Say hello."
    assert (named.name, named.retries, named.tags) == ("Named", 3, {"x"})
    assert named.with_options(retries=1).retries == 1
    assert isinstance(named.with_options(retries=1), type(named))


def test_submit_map_and_direct_calls_record_alike():
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def one():
        direct = double(1)
        submitted = double.submit(2).result()
        mapped = double.map([3, 4]).result()
        return [direct, submitted, *mapped]

    sealed = run_flow(one)
    assert sealed.state.result() == [2, 4, 6, 8]
    assert sorted(sealed.column("twice")) == [2, 4, 6, 8]


@pytest.mark.full
def test_process_pools_record_from_their_workers():
    @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    def one():
        return double.map([1, 2, 3]).result()

    sealed = run_flow(one)
    assert sealed.state.result() == [2, 4, 6]
    assert sorted(sealed.column("twice")) == [2, 4, 6]


async def test_async_tasks_record():
    @task
    async def half(x):
        current_run().log_parameter("half", x / 2)
        return x / 2

    @flow
    async def one():
        first = await half(3)
        rest = half.map([4, 5]).result()
        return [first, *rest]

    sealed = sealed_of(await one(return_state=True))
    assert sorted(sealed.column("half")) == [1.5, 2.0, 2.5]


def test_recorded_works_under_a_plain_prefect_task():
    @prefect.task(retries=1)
    @recorded
    def plain(x):
        current_run().log_parameter("x2", x * 2)
        return x

    @flow
    def one():
        return plain(4)

    sealed = run_flow(one)
    assert sealed.column("x2") == [8]


def test_the_same_exception_object_comes_out():
    error = ValueError("this one")

    @task
    def boom():
        raise error

    caught = []

    @flow
    def one():
        try:
            boom()
        except ValueError as found:
            caught.append(found)

    run_flow(one)
    assert caught == [error]
    assert caught[0] is error


def test_log_inputs_and_log_output_choose():
    @task(log_inputs=["a"], log_output=False)
    def some(a, b):
        return a + b

    @task(log_inputs=False)
    def none(a):
        return a

    @flow
    def one():
        some(1, 2)
        none(3)

    sealed = run_flow(one)
    assert sealed.column("a") == [1, None]
    assert sealed.column("b") == [None, None]
    assert [run.attachment_names for run in sealed.runs] == [[], ["output"]]


def test_outside_a_task_the_errors_say_what_to_do():
    with pytest.raises(exceptions.NoOpenRunError, match=r"inside the body of a function"):
        current_run()
    with pytest.raises(exceptions.NoExperimentError, match=r"ommx_prefect.flow"):
        current_experiment()


def test_wrong_options_are_refused_with_the_cure():
    with pytest.raises(ValueError, match="neither 'warn' nor 'raise'"):
        task(on_error="ignore")(_same(1))
    with pytest.raises(TypeError, match=r"write \['a'\]"):
        task(log_inputs="a")(_same(1))
    with pytest.raises(ValueError, match="same has no argument 'typo'"):
        task(log_inputs=["typo"])(_same(1))
    with pytest.raises(TypeError, match="Prefect task already"):
        task(prefect.task(_same(1)))
    with pytest.raises(TypeError, match="no text, such as"):
        flow(stage=3)(_same(1))
    for aliases in ("latest", [3]):
        with pytest.raises(TypeError, match="no tags, such as"):
            flow(aliases=aliases)(_same(1))


def test_a_flow_waits_for_submitted_tasks_that_nobody_awaited():
    @task
    def slow(x):
        time.sleep(0.7)
        return x

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def one():
        slow.map([1, 2, 3])
        return "early"

    sealed = run_flow(one)
    assert sealed.state.is_completed()
    assert sealed.statuses == ["finished"] * 3


def test_the_first_calls_of_ommx_in_two_threads_do_not_deadlock():
    code = """
import threading, ommx_prefect
from ommx import DecisionVariable, Instance, Sense

x = DecisionVariable.binary(0)
instances = [
    Instance.from_components(
        decision_variables=[x], objective=x, constraints={}, sense=Sense.Minimize
    )
    for _ in range(4)
]
threads = [threading.Thread(target=i.evaluate, args=({0: 0.0},)) for i in instances]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)
