"""`task` is a drop-in for `prefect.task`, on every kind of function."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
import time

import prefect
import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from ommx_prefect import (
    current_experiment,
    current_run,
    exceptions,
    flow,
    load_experiment,
    recorded,
    task,
)
from ommx_prefect._stages.local import LocalStage
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


def test_task_keys_are_as_distinct_as_those_of_the_bare_functions():
    def one():
        def same():
            return "A"

        return same

    def two():
        def same():
            return "B"

        return same

    keys = {task(one()).task_key, task(two()).task_key}
    assert len(keys) == 2
    assert task(one()).with_options(retries=2).task_key in keys


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor


class Shifted(Scaled):
    def __call__(self, x):
        return x + self.factor


def power(exponent, x):
    return x**exponent


def times(factor, x):
    return x * factor


def test_objects_and_partials_are_tasks_with_names_and_keys_of_their_own():
    functions = [Scaled(2), Shifted(3), functools.partial(power, 2), functools.partial(times, 7)]
    tasks = [task(fn) for fn in functions]
    assert [t.name for t in tasks] == [prefect.task(fn).name for fn in functions]
    assert len({t.task_key for t in tasks}) == 4

    @flow
    def one():
        return [t(5) for t in tasks]

    sealed = run_flow(one)
    assert sealed.state.result() == [10, 8, 25, 35]
    assert [entry["task"] for entry in sealed.ledger["runs"]] == [t.name for t in tasks]
    assert [run.get_json("output") for run in sealed.runs] == [10, 8, 25, 35]


def test_functions_without_source_have_cache_keys_of_their_own():
    sources = [task(_exec(f"def f(x):\n    return {n}"), name=f"f{n}").source_code for n in (1, 2)]
    assert len(set(sources)) == 2


def _exec(code):
    scope: dict[str, object] = {}
    exec(code, scope)
    return scope["f"]


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


def test_methods_classmethods_and_staticmethods_record():
    class Plant:
        factor = 3

        @task
        def method(self, x):
            return self.factor * x

        @task
        @classmethod
        def of_class(cls, x):
            return cls.factor + x

        @task
        @staticmethod
        def static(x):
            return x

    @flow
    def one():
        plant = Plant()
        return [
            plant.method(1),
            Plant.of_class(1),
            Plant.static(1),
            plant.method.submit(2).result(),
        ]

    sealed = run_flow(one)
    assert sealed.state.result() == [3, 4, 1, 6]
    assert sealed.statuses == ["finished"] * 4


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


def test_a_task_outside_any_flow_seals_an_experiment_of_its_own():
    @task(retries=1)
    def lone(fail):
        current_run().log_parameter("p", 1)
        if fail and current_run().run_id == 0 and not failed:
            failed.append(1)
            raise ValueError("once")
        return "done"

    failed: list[int] = []
    state = lone(True, return_state=True)
    experiment = load_experiment(state.state_details.task_run_id)
    assert [run.status for run in experiment.runs] == ["failed", "finished"]
    assert experiment.status == "finished"


async def test_the_seal_of_a_lone_async_task_lets_its_loop_go_on():
    """The seal needs its stage, which another one holds until a coroutine of the loop says so."""
    done, freed, freed_by = threading.Event(), threading.Event(), []

    @task
    async def lone():
        _hold(LocalStage(str(prefect.runtime.task_run.id)), freed, freed_by)
        done.set()
        return "done"

    async def frees():
        while not done.is_set():
            await asyncio.sleep(0.05)
        freed.set()

    state, _ = await asyncio.gather(lone(return_state=True), frees())
    assert freed_by == ["the loop"]
    _judge_lone(state)


async def test_the_seal_of_a_lone_async_task_takes_none_of_its_time():
    freed = threading.Event()

    @task(timeout_seconds=2)
    async def lone():
        _hold(LocalStage(str(prefect.runtime.task_run.id)), freed, [], seconds=3)
        return "done"

    _judge_lone(await lone(return_state=True))


def _hold(stage, freed, freed_by, seconds=30):
    def hold():
        with stage.locked():
            held.set()
            freed_by.append("the loop" if freed.wait(seconds) else "the clock")

    held = threading.Event()
    threading.Thread(target=hold).start()
    held.wait(240)


def _judge_lone(state):
    assert state.is_completed()
    experiment = load_experiment(state.state_details.task_run_id)
    assert [run.status for run in experiment.runs] == ["finished"]
    assert experiment.runs[0].get_json("output") == "done"


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
