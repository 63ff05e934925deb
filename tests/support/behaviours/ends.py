"""What comes of a task: what it returns or raises, retries, cached results, and what waits."""

from __future__ import annotations

import asyncio

from prefect import unmapped
from prefect.cache_policies import INPUTS
from prefect.context import TaskRunContext
from prefect.states import Completed, Failed

from tests.support.behaviours.table import IN_FLOW, state_of, told


@told(IN_FLOW)
def a_task_returns_what_its_function_returns(p):
    made = object()

    @p.task
    def one():
        return made

    @p.task
    def defaults(a, *rest, b=2, **more):
        return a, rest, b, more

    return one() is made, defaults(1), defaults(1, 3, b=4, c=5)


@told(IN_FLOW)
def an_exception_comes_through_as_it_is(p):
    raised = ValueError("no such plant", 7)

    @p.task
    def fails():
        raise raised

    try:
        fails()
    except ValueError as found:
        return found is raised, found.args, state_of(fails(return_state=True))


@told(IN_FLOW)
def a_base_exception_comes_through_too(p):
    class Stop(BaseException):
        pass

    @p.task
    def stops():
        raise Stop("now")

    try:
        stops()
    except BaseException as found:
        return type(found).__name__, str(found)


@told(IN_FLOW)
def retries_are_counted_and_conditions_asked(p):
    seen = []

    @p.task(retries=2)
    def third_time(key):
        seen.append((key, TaskRunContext.get().task_run.run_count))
        if len(seen) < 3:
            raise RuntimeError("again")
        return "done"

    def never(task, task_run, state):
        return False

    @p.task(retries=2, retry_condition_fn=never)
    def not_again():
        seen.append("once")
        raise RuntimeError("no")

    return third_time("k"), state_of(not_again(return_state=True)), seen


@told(IN_FLOW)
def returned_states_decide(p):
    @p.task
    def failed():
        return Failed(message="the solver gave up")

    @p.task
    def skipped():
        return Completed(name="Skipped", message="nothing to do", data=42)

    states = [failed(return_state=True), skipped(return_state=True)]
    return [state_of(state) for state in states], states[1].result()


@told(IN_FLOW)
def a_timeout_is_a_timeout(p):
    @p.task(timeout_seconds=0.3)
    async def too_slow():
        await asyncio.sleep(20)

    async def go():
        return await too_slow(return_state=True)

    state = asyncio.run(go())
    return state.type.value, state.name


@told(IN_FLOW)
def cached_results_are_found(p):
    calls = []
    key = p.unique

    @p.task(persist_result=True, cache_policy=INPUTS)
    def costly(x, key):
        calls.append(x)
        return {"x": x}

    states = [costly(x, key, return_state=True) for x in (1, 1, 2)]
    return [state.name for state in states], [state.result() for state in states], calls


@told(IN_FLOW)
def submitted_and_mapped_tasks_give_futures(p):
    @p.task
    def add(a, b=0):
        return a + b

    future = add.submit(1, b=2)
    mapped = add.map([1, 2, 3], unmapped(10))
    later = add.submit(future, wait_for=[mapped])
    kinds = type(future).__name__, type(mapped).__name__
    return kinds, future.result(), mapped.result(), later.result(), state_of(future.state)


@told(IN_FLOW)
def what_waits_for_a_failure_is_not_ready(p):
    @p.task
    def fails():
        raise RuntimeError("no")

    @p.task
    def follows(x):
        return x

    state = follows.submit(fails.submit()).wait() or None
    follower = follows(fails(return_state=True), return_state=True)
    return state, follower.type.value, follower.name


@told(IN_FLOW)
def a_deferred_task_is_no_work_of_this_process(p):
    @p.task
    def later(x):
        return x

    futures = later.map([1, 2], deferred=True)
    return [type(future).__name__ for future in futures], [f.state.name for f in futures]
