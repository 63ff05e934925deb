"""What is told outside of flows: how tasks and flows look, what they refuse, and flows that run."""

from __future__ import annotations

import asyncio
import contextlib
import inspect

import cloudpickle
from prefect.exceptions import ParameterTypeError

from tests.support.behaviours.table import OUTSIDE, state_of, told


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
