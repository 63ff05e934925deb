"""A solve in a process of its own is stopped with its task, in threads and in a pool."""

from __future__ import annotations

import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from ommx_prefect import flow
from ommx_prefect.solvers import solve
from tests.support import dying_adapters
from tests.support.reading import run_flow
from tests.support.solving import eight_capacities, slow_instance


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
def test_it_is_stopped_at_the_timeout_and_a_crash_leaves_the_worker_alive(runner):
    timed = solve.with_options(timeout_seconds=25)

    @flow(task_runner=runner(max_workers=1))
    def night():
        for adapter, instance in (
            (dying_adapters.Crashing, eight_capacities()),
            ("scip", slow_instance()),
            ("highs", eight_capacities()),
        ):
            timed.submit(adapter, instance, isolate=True, checkpoint_seconds=1).wait()

    sealed = run_flow(night)
    assert sealed.statuses == ["failed", "failed", "finished"]
    assert sealed.column("prefect.state") == ["Failed", "TimedOut", "Completed"]
    crashed, stopped, _ = sealed.runs
    assert "its process crashed (SIGSEGV)" in crashed.lifecycle_reason
    assert stopped.get_solution("incumbent").feasible
    assert all(x > 0 for x in sealed.column("peak_memory_mb"))
