"""What surrounds a task: generators, hooks, transactions, names, methods, subflows and prints."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from prefect.context import TaskRunContext
from prefect.transactions import transaction

from tests.support.behaviours.table import IN_FLOW, state_of, told


@told(IN_FLOW)
def generators_yield_one_by_one(p):
    seen = []

    @p.task
    def counts(n):
        try:
            for i in range(n):
                seen.append(i)
                yield i
        finally:
            seen.append("closed")

    @p.task
    async def counts_later(n):
        for i in range(n):
            yield i

    async def collected():
        return [i async for i in counts_later(3)]

    generator = counts(5)
    first = next(generator), list(seen)
    generator.close()
    return first, list(counts(2)), asyncio.run(collected()), seen


@told(IN_FLOW)
def hooks_run_in_order_with_what_they_are_given(p):
    seen = []

    def hook(name):
        def called(task, task_run, state):
            seen.append((name, task.name, state.name))

        return called

    @p.task(on_completion=[hook("c1"), hook("c2")], on_failure=[hook("f")], on_running=[hook("r")])
    def one(fails):
        if fails:
            raise RuntimeError("no")

    @one.on_completion
    def third(task, task_run, state):
        seen.append(("c3", task.name, state.name))

    one(False)
    one(True, return_state=True)
    one.with_options(name="copy", on_completion=[hook("other")])(False)
    return seen


@told(IN_FLOW)
def a_transaction_is_rolled_back_in_reverse(p):
    seen = []

    def writer(name):
        @p.task(name=name)
        def write():
            return name

        write.on_rollback(lambda _: seen.append(name))
        return write

    with contextlib.suppress(RuntimeError), transaction():
        writer("a")()
        writer("b")()
        raise RuntimeError("roll back")
    return seen


@told(IN_FLOW)
def names_and_tags_are_as_they_are_given(p):
    seen = []

    @p.task(name="Named", task_run_name="run-{n}", tags=["x", "y"], version="7")
    def named(n):
        run = TaskRunContext.get().task_run
        seen.append((run.name, sorted(run.tags), run.task_version))

    named(3)
    named.with_options(tags=["z"], task_run_name="other")(4)
    return seen, named.name, sorted(named.tags), named.version


@told(IN_FLOW)
def methods_are_tasks(p):
    class Plant:
        def __init__(self, factor):
            self.factor = factor

        @p.task
        def produce(self, x):
            return self.factor * x

        @staticmethod
        @p.task
        def count(x):
            return x + 1

        @p.task
        @classmethod
        def named(cls, x):
            return cls.__name__ * x

    return Plant(3).produce(2), Plant.count(1), Plant.named(2), Plant(4).produce.submit(2).result()


@told(IN_FLOW)
def tasks_call_tasks_and_functions(p):
    @p.task
    def inner(x):
        return x + 1

    @p.task
    def outer(x):
        return inner(x), inner.fn(x), inner.submit(x).result()

    return outer(1)


@told(IN_FLOW)
def subflows_run_and_fail_in_their_parent(p):
    @p.flow
    def inner(x: int):
        return x + 1

    @p.flow
    def fails():
        raise RuntimeError("inside")

    coerced = inner("4")
    state = fails(return_state=True)
    return coerced, state_of(state)


@told(IN_FLOW)
def prints_are_logged_only_if_asked_for(p):
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    handler = Handler(level=logging.INFO)
    logger = logging.getLogger("prefect.task_runs")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    @p.task(log_prints=True)
    def loud():
        print("heard")

    @p.task
    def quiet():
        print("not logged")

    try:
        loud()
        quiet()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return [text for text in seen if text in ("heard", "not logged")]
