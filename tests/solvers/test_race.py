"""In a race the first proof wins, and the others are stopped and say so."""

from __future__ import annotations

import random
import tempfile
import threading
import time

import pytest
from ommx import DecisionVariable, Sense
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.exceptions import ParameterBindError
from prefect.task_runners import ThreadPoolTaskRunner

from ommx_prefect import flow
from ommx_prefect.analysis import solves
from ommx_prefect.exceptions import InfeasibleError
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import instance_digest, race
from ommx_prefect.solvers._call import RecordedCall
from ommx_prefect.solvers._race import end_race, new_race, racing, result_of_race, win, winner_of
from ommx_prefect.solvers._solve import solve_in
from tests.support.instance_files import instance_file
from tests.support.reading import run_flow
from tests.support.solving import (
    X,
    close_weights,
    eight_capacities,
    instance_of,
    slow_instance,
)


def test_only_the_first_wins():
    begun = new_race()
    assert winner_of(begun) is None
    win(begun, "highs")
    win(begun, "scip")
    assert winner_of(begun) == "highs"
    end_race(begun)
    assert winner_of(begun) is None


@pytest.mark.parametrize(
    "adapters",
    [[], "highs", OMMXHighsAdapter, ["highs", "scip", "highs"], [OMMXHighsAdapter] * 2],
)
def test_a_race_names_each_solver_once(adapters):
    with pytest.raises(ValueError, match=r"one solver at least|named twice"):
        race(adapters, instance_of([X], X))


@pytest.mark.server
@pytest.mark.parametrize("adapter", ["highs", "scip"])
def test_who_decides_between_infeasible_and_unbounded_is_stopped_too(adapter):
    """Without its objective this is a market split, which takes any solver hours."""
    draw = random.Random(1).randint
    x = [DecisionVariable.binary(i) for i in range(50)]
    without_end = DecisionVariable.continuous(99, lower=0)
    rows = {}
    for row in range(6):
        weights = [draw(0, 99) for _ in x]
        bought = sum(w * v for w, v in zip(weights, x, strict=True))
        rows[row] = bought == sum(weights) // 2
    instance = instance_of([*x, without_end], -1 * without_end, rows)
    begun = new_race()
    threading.Timer(2.0, win, (begun, "other")).start()
    since = time.monotonic()
    experiment = Experiment.with_temp_local_registry()
    stopped = pytest.raises(KeyboardInterrupt, match="other was first")
    with stopped, experiment.run() as run, racing(begun):
        solve_in(run, adapter, instance, limits={"time_limit_seconds": 60})
    assert time.monotonic() - since < 30
    end_race(begun)


@pytest.mark.server
@pytest.mark.parametrize("isolate", [False, True])
def test_who_is_not_first_is_stopped_and_says_who_was(isolate, monkeypatch):
    is_at_work = threading.Event()
    monkeypatch.setattr(RecordedCall, "keep_incumbent", lambda *_: is_at_work.set())
    begun = new_race()
    experiment = Experiment.with_temp_local_registry()
    ended: list[tuple[float, str]] = []

    def losing() -> None:
        try:
            with racing(begun), experiment.run() as run:
                told = {"limits": {}, "isolate": isolate, "checkpoint_seconds": 0.1}
                solve_in(run, "highs", slow_instance(), **told)
        except KeyboardInterrupt as error:
            ended.append((time.monotonic(), str(error)))

    thread = threading.Thread(target=losing)
    thread.start()
    assert is_at_work.wait(120)
    since = time.monotonic()
    win(begun, "scip")
    thread.join(60)
    [(at, reason)] = ended
    assert reason == "scip was first"
    assert at - since < 4
    experiment.commit()
    [run] = experiment.runs
    assert run.status == "interrupted"
    assert str(run.lifecycle_reason).endswith(reason)
    if not isolate:
        assert run.get_solution("incumbent").feasible
    with pytest.raises(KeyboardInterrupt, match="scip was first"), racing(begun):
        pytest.fail("it began after the race")


@pytest.mark.usefixtures("server")
def test_a_race_has_one_winner_and_a_run_for_each():
    @flow
    def night():
        race(["highs", "scip"], close_weights(), isolate=False, checkpoint_seconds=60)
        return race(["highs", "scip"], eight_capacities(), isolate=False).objective

    sealed = run_flow(night)
    assert sealed.state.result() == 1787.0
    states = zip(sealed.column("prefect.state"), sealed.runs[:2], strict=False)
    (done, won), (stopped, lost) = sorted(states, key=lambda each: each[1].status)
    assert (done, won.status, won.solves[0].status) == ("Completed", "finished", "finished")
    assert (stopped, lost.status) == ("Cancelled", "interrupted")
    assert lost.lifecycle_reason.endswith("highs was first")
    for each in lost.solves:  # none, where the other was first before it began
        assert each.status == "interrupted"
        assert lost.get_solution("incumbent").feasible
    assert "optimal" in sealed.column("outcome")[2:]
    assert len(sealed.runs) == 4
    for run in sealed.runs:
        if run.status == "interrupted":
            assert "was first" in run.lifecycle_reason


@pytest.mark.usefixtures("server")
def test_who_never_began_says_so_and_what_it_would_have_been():
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def night():
        return race(["highs", "scip"], eight_capacities(), isolate=False, time_limit_seconds=60)

    sealed = run_flow(night)
    won, lost = sealed.runs
    assert (won.status, len(won.solves), lost.status, len(lost.solves)) == (
        *("finished", 1),
        *("interrupted", 0),
    )
    assert lost.lifecycle_reason == "it never began: highs was first"
    assert instance_digest(lost.get_instance("instance")) == instance_digest(eight_capacities())
    told = solves(sealed.experiment)[["instance", "adapter", "limit", "reason"]]
    assert told.loc[1].tolist() == ["eight", "scip", 60.0, "it never began: highs was first"]


@pytest.mark.usefixtures("server")
def test_the_others_are_stopped_and_an_infeasible_proof_wins_too():
    @flow
    def night():
        infeasible = load_instance(instance_file("klein1.mps")).instance
        racers = [OMMXHighsAdapter, "scip"]
        assert race(racers, infeasible, isolate=False, raise_on_failure=False) is None
        race(racers, infeasible)

    sealed = run_flow(night)
    assert isinstance(sealed.state.result(raise_on_failure=False), InfeasibleError)
    assert len(sealed.runs) == 4
    for run in sealed.runs:  # a class wins under its name
        told = run.lifecycle_reason
        assert "InfeasibleError" in told or told.endswith(
            ("OMMXHighsAdapter was first", "scip was first")
        )


@pytest.mark.usefixtures("server")
def test_where_all_stop_at_a_limit_the_best_of_them_is_the_result():
    @flow
    def night():
        given = {"isolate": False, "time_limit_seconds": 3, "threads": 1}
        return race(["highs", "scip"], slow_instance(), **given)

    sealed = run_flow(night)
    assert sealed.statuses == ["finished"] * 2
    assert sealed.column("outcome") == ["feasible"] * 2
    result = sealed.state.result()
    assert result.objective == max(sealed.column("objective"))  # it is maximised
    assert result.feasible


def test_where_nobody_wins_the_best_is_the_result():
    maximised = instance_of([X], X, sense=Sense.Maximize)
    low, high = (maximised.evaluate({0: value}) for value in (1.0, 5.0))
    assert result_of_race({"highs": low, "scip": high}, None, maximised) is high
    assert result_of_race({"highs": low, "scip": high}, "highs", maximised) is low
    error = InfeasibleError("OMMXHighsAdapter", "x", "none")
    with pytest.raises(InfeasibleError):
        result_of_race({"highs": error, "scip": object()}, "highs", maximised)


def test_a_race_outside_flows_or_of_unknown_arguments_is_refused_and_leaves_no_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"race\(\) found no flow.*ommx_prefect.flow"):
        race(["highs"], instance_of([X], X))
    with pytest.raises(ParameterBindError, match="Did you mean 'time_limit_seconds'"):
        race(["highs"], instance_of([X], X), timeout=3)
    with pytest.raises(ParameterBindError, match=r"no argument 'time_limit'.*'time_limit_seconds'"):
        race(["highs", "scip"], instance_of([X], X), time_limit=3)
    with pytest.raises(ParameterBindError, match="no argument 'return_state'"):
        race(["highs"], instance_of([X], X), return_state=True)
    assert not list(tmp_path.iterdir())


def test_a_race_of_nobody_is_refused():
    with pytest.raises(ValueError, match="one solver at least"):
        race([], instance_of([X], X))
