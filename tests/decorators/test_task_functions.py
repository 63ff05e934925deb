"""Every kind of function can be a task: methods, objects, partials, and ones without source."""

from __future__ import annotations

import functools

import prefect
import pytest

from ommx_prefect import flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


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
