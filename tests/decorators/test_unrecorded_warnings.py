"""Where decorators are put together so that nothing is recorded or sealed, one warning says so."""

from __future__ import annotations

import prefect
import pytest

from ommx_prefect import flow, recorded, seal_hooks, task
from tests.support.logs import warnings_in
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def warnings():
    """The warnings of this package, and of runs."""
    with warnings_in("prefect.task_runs", "prefect.flow_runs") as found:
        yield found


def unlike_wraps(fn):
    """A decorator that does not say whom it wraps."""

    def hides(*args, **kwargs):
        return fn(*args, **kwargs)

    return hides


def test_a_decorator_that_hides_a_recorded_function_is_named_once(warnings):
    @prefect.task
    @unlike_wraps
    @recorded
    def hidden():
        return 1

    @flow
    def one():
        return [hidden() for _ in range(3)]

    sealed = run_flow(one)
    assert sealed.runs == []
    said = [text for text in warnings if "'hidden'" in text]
    assert len(said) == 1
    assert "functools.wraps" in said[0]


def test_a_recorded_function_that_is_no_task_is_named_once(warnings):
    @recorded
    def lonely():
        return 1

    @task
    def whole():
        return 2

    @flow
    def one():
        return lonely(), lonely(), whole.fn()

    assert run_flow(one).runs == []
    (said,) = warnings
    assert "'lonely' outside of a task" in said
    assert "@task" in said


def test_a_recorded_function_that_a_recorded_task_calls_is_no_reason_to_warn(warnings):
    @recorded
    def helper():
        return 1

    @task
    def outer():
        return helper(), inner.fn()

    @task
    def inner():
        return 2

    @flow
    def one():
        return outer()

    assert run_flow(one).statuses == ["finished"]
    assert warnings == []


def test_a_plain_flow_around_recorded_tasks_is_told_once_how_to_be_sealed(warnings):
    @task
    def one(x):
        return x

    @prefect.flow
    def plain():
        one.map([1, 2]).wait()
        return one(3)

    plain()
    said = [text for text in warnings if "seal_hooks" in text]
    assert len(said) == 1
    assert "ommx_prefect.flow" in said[0]
    assert "ommx-prefect seal" in said[0]


def test_flows_that_are_sealed_are_told_nothing(warnings):
    @task
    def one(x):
        return x

    @prefect.flow
    def part():
        return one(1)

    @prefect.flow(**seal_hooks())
    def hooked():
        return one(1)

    @flow
    def whole():
        return part(), one.submit(2).result()

    assert run_flow(whole).statuses == ["finished"] * 2
    assert run_flow(hooked).statuses == ["finished"]
    assert [text for text in warnings if "seal" in text] == []
