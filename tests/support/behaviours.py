"""What Prefect does, as a table: functions that take `task` and `flow`, and say what they saw.

Each is run with Prefect's own decorators and with ours. What they say must be the same, so it holds
no ids, times or names of functions that differ from run to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cloudpickle
from prefect import unmapped
from prefect.cache_policies import INPUTS
from prefect.context import TaskRunContext
from prefect.exceptions import ParameterTypeError
from prefect.states import Completed, Failed
from prefect.transactions import transaction

# Told in the body of one flow run, which is made once with each pair of decorators.
IN_FLOW: dict[str, Callable[[Any], Any]] = {}
# Told outside of flows.
OUTSIDE: dict[str, Callable[[Any], Any]] = {}


def told(table: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def add(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
        table[fn.__name__] = fn
        return fn

    return add


def state_of(state: Any) -> tuple[str, str, str | None]:
    message = state.message and state.message.partition("took")[0]
    return state.type.value, state.name, message


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


@told(OUTSIDE)
def a_task_shows_its_function(p):
    @p.task
    async def solve(instance: int, *, limit: float = 1.0) -> dict[str, int]:
        """Solve it.

        And more.
        """

    return (
        str(inspect.signature(solve)),
        solve.__doc__,
        solve.__name__,
        solve.__module__,
        solve.__qualname__,
        solve.description,
        solve.isasync,
        solve.isgenerator,
        inspect.iscoroutinefunction(solve.fn),
        solve.task_key,
        solve.source_code,
        solve.log_prints,
        solve.persist_result,
        solve.cache_policy == p.task(len_of).cache_policy,
    )


def len_of(x):
    """Return the length."""
    return len(x)


@told(OUTSIDE)
def a_flow_shows_its_function(p):
    @p.flow(retries=2, timeout_seconds=9)
    def night(path: str, limit: float = 1.0) -> int:
        """Run the night."""
        return 1

    return (
        str(inspect.signature(night)),
        night.__doc__,
        night.name,
        night.description,
        night.version,
        night.isasync,
        night.retries,
        night.timeout_seconds,
        night.parameters.model_dump(),
        night.validate_parameters({"path": "a", "limit": "2"}),
        night.with_options(name="other", retries=0).retries,
        night.with_options(name="other").name,
        night.fn("a"),
    )


@told(OUTSIDE)
def parameters_are_validated_before_the_flow_runs(p):
    ran = []

    @p.flow
    def night(x: int):
        ran.append(x)

    with contextlib.suppress(ParameterTypeError):
        night("not a number")
    state = night("not a number", return_state=True)
    return ran, state.type.value, state.name


@told(OUTSIDE)
def flow_hooks_run_for_their_states(p):
    seen = []

    def hook(name):
        def called(flow, flow_run, state):
            seen.append((name, flow.name, state.name))

        return called

    names = ("on_completion", "on_failure", "on_running", "on_crashed", "on_cancellation")
    hooks = {name: [hook(name)] for name in names}

    @p.flow(retries=1, **hooks)
    def night(fails):
        if fails:
            raise RuntimeError("no")
        return 1

    state = night(True, return_state=True)
    return night(False), state_of(state), seen


@told(OUTSIDE)
def async_flows_and_generators_end_as_ever(p):
    @p.task
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    @p.flow
    async def night():
        return await asyncio.gather(*(double(x) for x in range(3)))

    @p.flow
    def numbers(n):
        yield from range(n)

    return asyncio.run(night()), list(numbers(3))


@told(OUTSIDE)
def a_task_runs_without_a_flow(p):
    @p.task
    def alone(x):
        return x + 1

    with contextlib.suppress(RuntimeError):
        return alone.submit(2)
    return alone(1), alone(1, return_state=True).name


@told(OUTSIDE)
def tasks_and_flows_are_pickled_by_value(p):
    @p.task(retries=3)
    def double(x):
        return 2 * x

    @p.flow
    def night(x):
        return double(x)

    task, flow = cloudpickle.loads(cloudpickle.dumps((double, night)))
    return task.retries, task.task_key == double.task_key, flow(4)


@told(OUTSIDE)
def wrong_use_is_refused_alike(p):
    def refusal(make):
        try:
            make()
        except Exception as error:
            return type(error).__name__
        return None

    @p.task
    def one(x):
        return x

    return (
        refusal(lambda: p.task(retries="three", retry_delay_seconds=[1] * 60)(len_of)),
        refusal(lambda: p.task(on_completion="no list")(len_of)),
        refusal(lambda: p.task(lambda return_state: 1)),
        refusal(lambda: one(1, 2)),
        refusal(lambda: one(y=1)),
        refusal(lambda: p.flow(name=3)(len_of)),
        refusal(lambda: p.flow(timeout_seconds="soon")(len_of)),
    )


def all_told(p: SimpleNamespace) -> dict[str, Any]:
    """Run every behaviour with one pair of decorators."""
    found: dict[str, Any] = {}

    def see(table: dict[str, Callable[[Any], Any]]) -> None:
        for name, behaviour in table.items():
            try:
                found[name] = behaviour(p)
            except Exception as error:  # that of one is no reason to lose the others
                found[name] = error

    @p.flow(name="behaviours")
    def in_one_flow():
        see(IN_FLOW)

    in_one_flow()
    see(OUTSIDE)
    return found
