"""Which task a checkpoint belongs to: callbacks, threads of a solver, and no task at all."""

from __future__ import annotations

import contextvars
import threading

import prefect
import pytest
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import (
    checkpoint,
    current_run,
    exceptions,
    flow,
    task,
)
from tests.support.models import knapsack
from tests.support.reading import run_flow

server = pytest.mark.usefixtures("server")


class CallingBack(OMMXHighsAdapter):
    """Checkpoints while OMMX's `log_solve` has the Run in its hands."""

    @classmethod
    def solve(cls, ommx_instance, **options):
        checkpoint(same_thread=1)
        _in_thread(lambda: checkpoint(other_thread=2))
        return OMMXHighsAdapter.solve(ommx_instance, verbose=False)


def _in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)


@server
def test_a_callback_checkpoints_inside_log_solve_from_its_own_thread_too():
    @task
    def solves():
        return current_run().log_solve(CallingBack, knapsack()).objective

    @flow
    def one():
        solves()

    sealed = run_flow(one)
    assert sealed.column("same_thread") + sealed.column("other_thread") == [1, 2]
    assert sealed.runs[0].get_json("output") == 5


@server
def test_a_thread_of_highs_that_knows_no_task_means_the_one_that_runs():
    threads = set()

    @task
    def starts():
        with current_run().open_solve(OMMXHighsAdapter, knapsack()) as solve:

            def improved(event):
                threads.add(threading.current_thread())
                checkpoint(objective=event.data_out.objective_function_value)

            solve.solver_input.setOptionValue("presolve", "off")
            solve.solver_input.cbMipImprovingSolution += improved
            solve.solver_input.startSolve()
            solve.solver_input.wait(240)
            solve.decode(solve.solver_input)
            return threading.current_thread() in threads

    @flow
    def one():
        return starts()

    sealed = run_flow(one)
    assert sealed.state.result() is False
    assert sealed.column("objective") == [5.0]


@server
def test_a_thread_that_could_mean_several_tasks_is_told_how_to_say_which():
    both = threading.Barrier(2)

    @task
    def works(number):
        context = contextvars.copy_context()
        both.wait(240)
        _in_thread(lambda: checkpoint(lost=number))
        _in_thread(lambda: context.run(checkpoint, number=number))
        both.wait(240)

    @flow
    def one():
        works.map([1, 2]).result()

    sealed = run_flow(one)
    assert sealed.statuses == ["finished"] * 2
    assert sorted(sealed.column("number")) == [1, 2]
    assert sealed.column("lost") == [None, None]
    for row in sealed.ledger["runs"]:
        assert [("copy_context" in note) for note in row["notes"]] == [True]


@server
def test_outside_a_recorded_task_it_says_what_to_do():
    caught = []

    def tries():
        with pytest.raises(exceptions.NoCheckpointError, match="current_experiment") as error:
            checkpoint(x=1)
        caught.append(error.value)

    @prefect.task
    def unrecorded():
        tries()

    @flow
    def one():
        tries()
        unrecorded()

    tries()
    _in_thread(tries)
    run_flow(one)
    assert len(caught) == 4
    assert isinstance(caught[0], exceptions.NoOpenRunError)
