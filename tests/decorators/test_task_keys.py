"""A task's key and source are those that plain Prefect has for the user's function.

Workers find a delayed task by its key, and cache keys hold the source: with ours in them, every
edit of this package would strand queued tasks and forget cached results.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import cloudpickle
import prefect
import pytest
from prefect.cache_policies import TASK_SOURCE
from prefect.context import TaskRunContext
from prefect.tasks import task_input_hash

from ommx_prefect import recorded, task
from tests.support.key_tasks import FUNCTIONS, Plant, double, leave_a_mark, logged, same_name
from tests.support.tiers import full

HAS_SOURCE = hasattr(prefect.tasks, "_get_task_source")  # Prefect 3.9


def source_key(work: prefect.Task) -> str | None:
    """What a task's source is in its cache key."""
    context = TaskRunContext.model_construct(task=work)
    return TASK_SOURCE.compute_key(task_ctx=context, inputs={}, flow_parameters={})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_key_and_source_are_plain_prefects(name):
    plain, ours = prefect.task(FUNCTIONS[name]), task(FUNCTIONS[name])
    assert ours.task_key == plain.task_key
    assert source_key(ours) == source_key(plain)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_they_stay_so_in_copies_and_pickles(name):
    plain = prefect.task(FUNCTIONS[name])
    copy = task(FUNCTIONS[name], retries=1).with_options(retries=2, name="other")
    again = cloudpickle.loads(cloudpickle.dumps(copy))
    for each in (copy, again, again.with_options(retries=3)):
        assert each.task_key == plain.task_key
        assert source_key(each) == source_key(plain)


def test_recorded_below_task_changes_nothing():
    plain = prefect.task(double)
    assert task(recorded(double)).task_key == plain.task_key
    assert source_key(task(recorded(double))) == source_key(plain)
    assert source_key(prefect.task(recorded(double))) == source_key(plain)
    if HAS_SOURCE:
        assert prefect.task(recorded(double)).task_key == plain.task_key


def test_a_decorator_between_has_a_key_of_its_own_as_in_plain_prefect():
    assert task(logged(recorded(double))).task_key == prefect.task(logged(double)).task_key
    assert task(logged(double)).task_key != task(double).task_key


@pytest.mark.skipif(not HAS_SOURCE, reason="Prefect 3.8 reads the byte code of the wrapper")
def test_prefects_own_hash_of_inputs_is_the_same():
    keys = []
    for work in (prefect.task(double), task(double)):
        context = TaskRunContext.model_construct(task=work)
        keys.append(task_input_hash(context, {"x": 1}))
    assert keys[0] == keys[1]


def test_what_differs_has_keys_that_differ():
    made = [
        *(functools.partial(power, exponent) for exponent in (2, 3)),
        functools.partial(power, exponent=2),
        functools.partial(times, 2),
        same_name("A"),
        same_name("B"),
        Plant(2),
        Plant(2).produce,
        double,
    ]
    assert len({task(fn).task_key for fn in made}) == len(made)
    assert len({source_key(task(fn)) for fn in made}) == len(made)


def power(exponent, x):
    return x**exponent


def times(factor, x):
    return x * factor


def test_a_builtin_is_a_task_as_before():
    assert task(sorted).task_key.startswith("sorted-")


ROOT = Path(__file__).parents[2]


def serving(decorator: str) -> str:
    """A script that serves the task as one of these decorators makes it."""
    package = decorator.partition(".")[0]
    return (
        f"import sys, prefect.task_worker, {package}\n"
        "from tests.support.key_tasks import leave_a_mark\n"
        f"assert ('ommx_prefect' in sys.modules) is {package == 'ommx_prefect'}\n"
        f"prefect.task_worker.serve({decorator}(leave_a_mark))\n"
    )


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("delays", "serves"),
    [
        (task, "prefect.task"),
        *full((prefect.task, "ommx_prefect.task"), (task, "ommx_prefect.task")),
    ],
)
def test_a_worker_takes_what_the_other_decorator_delays(tmp_path, delays, serves):
    future = delays(leave_a_mark).delay(str(tmp_path / "mark"))
    process = subprocess.Popen([sys.executable, "-c", serving(serves)], cwd=ROOT)
    try:
        future.wait(240)  # a worker takes a minute to start beside busy cores
        assert future.state.is_completed()
        assert (tmp_path / "mark").read_text() == "made"
    finally:
        process.terminate()
        process.wait(20)
