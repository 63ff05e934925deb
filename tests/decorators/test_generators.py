"""Generators keep what `yield` can do, and their Run is the current one only inside of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import prefect
import pytest

from ommx_prefect import current_run, exceptions, flow, seal, task
from tests.support.reading import Sealed, run_flow, sealed_of

pytestmark = pytest.mark.usefixtures("server")


def test_generators_attach_each_value_and_show_their_run_only_inside():
    @task
    def numbers(n):
        for i in range(n):
            current_run().log_json(f"seen-{i}", i)
            yield i

    seen = []

    @flow
    def one():
        for value in numbers(3):
            seen.append(value)
            with pytest.raises(exceptions.NoOpenRunError):
                current_run()

    sealed = run_flow(one)
    assert seen == [0, 1, 2]
    assert sealed.statuses == ["finished"]
    assert [sealed.runs[0].get_json(f"output.{i}") for i in range(3)] == [0, 1, 2]
    assert sealed.runs[0].get_json("seen-2") == 2


def test_a_generator_that_is_closed_early_is_finished():
    @task
    def numbers():
        yield 1
        yield 2

    @flow
    def one():
        return next(iter(numbers()))

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].attachment_names == ["output.0"]


async def test_async_generators_record():
    @task
    async def numbers(n):
        for i in range(n):
            yield i * current_run().run_id + i

    @flow
    async def one():
        return [value async for value in numbers(3)]

    state = await one(return_state=True)
    sealed = sealed_of(state)
    assert sealed.statuses == ["finished"]
    assert [sealed.runs[0].get_json(f"output.{i}") for i in range(3)] == [0, 1, 2]


def cleans_up():
    try:
        yield from range(5)
    finally:
        current_run().log_json("cleaned up", True)


async def cleans_up_async():
    try:
        for number in range(5):
            yield number
    finally:
        current_run().log_json("cleaned up", True)


def test_the_clean_up_of_a_generator_that_is_closed_early_is_inside_its_run():
    numbers = task(cleans_up)

    @flow
    def one():
        generator = numbers()
        first = [next(generator), next(generator)]
        generator.close()
        return first

    sealed = run_flow(one)
    assert sealed.state.result() == [0, 1]
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].get_json("cleaned up")


def test_the_clean_up_of_an_async_generator_that_is_closed_early_is_inside_its_run():
    numbers = task(cleans_up_async)

    @flow
    async def one():
        async with aclosing(numbers()) as generator:
            return [await anext(generator), await anext(generator)]

    # Prefect closes with a method that async generators lack, and leaves them to the loop.
    state = asyncio.run(one(return_state=True))
    assert state.result() == [0, 1]
    sealed = Sealed(state, seal(str(state.state_details.flow_run_id)).flow_run_id)
    assert sealed.statuses == ["finished"]
    assert sealed.runs[0].get_json("cleaned up")


def echo():
    """Yield what is sent, and the text of what is thrown."""
    got = "started"
    while True:
        try:
            got = yield got
        except ValueError as error:
            got = f"caught {error}"


async def echo_async():
    got = "started"
    while True:
        try:
            got = yield got
        except ValueError as error:
            got = f"caught {error}"


@pytest.mark.parametrize(
    "decorated",
    [prefect.task, prefect.flow, task, flow],
    ids=["prefect.task", "prefect.flow", "task", "flow"],
)
async def test_what_is_sent_and_thrown_reaches_a_generator(decorated):
    answers = []
    generator = decorated(echo).fn()
    answers += [next(generator), generator.send("a"), generator.throw(ValueError("b"))]
    generator.close()
    async with aclosing(decorated(echo_async).fn()) as steps:
        answers += [await anext(steps), await steps.asend("a"), await steps.athrow(ValueError("b"))]
    assert answers == ["started", "a", "caught b"] * 2


async def test_an_async_generator_that_fails_is_failed():
    @task
    async def fails():
        yield 1
        raise ValueError("no more")

    @flow
    async def one():
        with pytest.raises(ValueError, match="no more"):
            async for _ in fails():
                pass

    sealed = sealed_of(await one(return_state=True))
    assert sealed.statuses == ["failed"]
    assert sealed.runs[0].lifecycle_reason == "ValueError: no more"
    assert sealed.runs[0].get_json("output.0") == 1
