"""A solve starts from what it is given, says whose it is, and leaves out what does not fit."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from ommx import DecisionVariable, Sense, State

from ommx_prefect import flow
from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.checkpoint_values import Checkpoints
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import solve
from ommx_prefect.solvers._call import RecordedCall
from ommx_prefect.solvers._earlier import _in_stage
from ommx_prefect.solvers._solve import solve_in
from ommx_prefect.testing._scene import attempt_of, new_id
from tests.support.instance_files import instance_file
from tests.support.reading import run_flow
from tests.support.solving import SOLVERS, eight_capacities, instance_of, recorded, slow_instance


def best(instance):
    return recorded(solve_in, "highs", instance, limits={}).value


@pytest.mark.parametrize("adapter", SOLVERS)
def test_the_solver_starts_from_it(adapter):
    instance = load_instance(instance_file("flugpl.mps")).instance
    known = best(instance)
    found = recorded(solve_in, adapter, instance, limits={}, start=known)
    told = found.parameters
    assert told["start_objective"] == pytest.approx(known.objective)
    digest = hashlib.sha256(known.to_v2_bytes()).hexdigest()
    assert told["start"] == f"solution sha256:{digest} by id"
    assert told["objective"] == pytest.approx(known.objective)
    if adapter != "python-mip":  # its first solution is the start
        trajectory = found.run.get_json("trajectory")
        first = next(x for x in trajectory["primal"] if x is not None)
        assert first == pytest.approx(known.objective)


@pytest.mark.server
@pytest.mark.parametrize("adapter", ["highs", "scip"])
def test_a_start_that_is_never_beaten_is_durable_as_any_other_solution(adapter, monkeypatch):
    told: list[float] = []
    monkeypatch.setattr(RecordedCall, "keep_incumbent", lambda _, x, __: told.append(x.objective))
    known = best(eight_capacities())
    given = {"limits": {"threads": 1}, "start": known, "checkpoint_seconds": 0.01}
    found = recorded(solve_in, adapter, eight_capacities(), **given).parameters
    assert told[0] == pytest.approx(known.objective) == found["objective"]
    assert found["incumbents"] == 1


@pytest.mark.server
def test_a_state_values_and_a_run_are_starts():
    instance = eight_capacities()
    solved = recorded(solve_in, "highs", instance, limits={})
    entries = dict(solved.value.state.entries)
    for start, name in (
        (State(entries), "state"),
        (entries, "values"),
        (solved.run, "run 0"),
    ):
        found = recorded(solve_in, "highs", eight_capacities(), limits={}, start=start).parameters
        assert found["start"].startswith(f"{name} sha256:")
        assert found["start_objective"] == pytest.approx(solved.value.objective)


def knapsack(first: int, names: str = "take"):
    x = [DecisionVariable.binary(first + i, name=names, subscripts=[i]) for i in range(5)]
    profit = sum((3 + 2 * i) * v for i, v in enumerate(x))
    return instance_of(x, profit, {0: sum(x) <= 3}, Sense.Maximize)


@pytest.mark.parametrize("adapter", SOLVERS)
def test_other_ids_are_matched_by_name_and_subscripts(adapter):
    start = best(knapsack(0))
    found = recorded(solve_in, adapter, knapsack(2), limits={}, start=start).parameters
    assert found["start"].endswith(" by name")
    assert found["start_objective"] == start.objective == 27


@pytest.mark.parametrize("isolate", [False, pytest.param(True, marks=pytest.mark.server)])
def test_full_telemetry_has_the_start_itself(isolate):
    told = {"limits": {}, "start": best(knapsack(0)), "isolate": isolate}
    found = recorded(solve_in, "highs", knapsack(2), **told)
    assert found.run.get_solution("start").objective == 27
    assert found.run.get_solution("start").state.entries.keys() == {2, 3, 4, 5, 6}
    brief = recorded(solve_in, "highs", knapsack(2), telemetry="summary", **told)
    assert brief.parameters["start_objective"] == 27
    assert "start" not in brief.run.attachment_names


def test_a_quadratic_objective_has_its_start_in_scip():
    x = [DecisionVariable.integer(i, lower=0, upper=9) for i in range(2)]
    instance = instance_of(x, (x[0] - 3) * (x[0] - 3) + x[1] * x[1], {0: x[0] + x[1] >= 2})
    found = recorded(solve_in, "scip", instance, limits={}, start={0: 2.0, 1: 1.0}).parameters
    assert found["start_objective"] == 2.0
    assert found["objective"] == 0


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (dict.fromkeys(range(5), 1.0), "it is infeasible"),
        ({0: 1.0}, "it has no value for 4 of 5 variables"),
        (None, "it has no value for 5 of 5 variables"),
    ],
)
def test_a_start_that_does_not_fit_is_told_and_left_out_or_refused(start, reason):
    start = best(knapsack(100, "other")) if start is None else start
    found = recorded(solve_in, "highs", knapsack(0), limits={}, start=start).parameters
    assert found["start_left_out"] == reason
    assert found["outcome"] == "optimal"
    assert not found.keys() & {"start", "start_objective"}
    with pytest.raises(SolverOptionError, match=reason):
        recorded(solve_in, "highs", knapsack(0), limits={}, start=start, start_required=True)


def test_what_is_no_start_is_refused():
    with pytest.raises(TypeError, match=r"start is of type list\. Pass an ommx\.Solution"):
        recorded(solve_in, "highs", knapsack(0), limits={}, start=["last night"])


def test_a_solver_that_nobody_knows_takes_no_start():
    found = recorded(
        solve_in, "openjij", knapsack(0), limits={}, start={0: 1.0}, raise_on_failure=False
    )
    assert "nobody here knows" in found.parameters["start_left_out"]


def test_of_many_attempts_the_newest_is_resumed_ended_or_dead():
    stage, instance = LocalStage(new_id()), knapsack(0)
    values = {number: {i: float(i < number % 4) for i in range(5)} for number in range(1, 12)}
    for number in (3, 10, 9, 2):  # their keys are in another order than their starts
        announced = Announced.of({"instance": "k", "adapter": "A"}, instance, b"instance")
        found = announced.beside("incumbent", instance.evaluate(values[number]))
        attempt = attempt_of(stage.flow_run_id, number)
        Checkpoints(stage, attempt).announce(found, Redactor())
    own = attempt_of(stage.flow_run_id, 11)
    left = [dict(x.state.entries) for x in _in_stage(stage, own, "k", "A")]
    assert left == [values[number] for number in (10, 9, 3, 2)]
    assert list(_in_stage(stage, own, "other", "A")) == []


@pytest.mark.usefixtures("server")
def test_a_retry_resumes_and_the_next_night_starts_from_the_last():
    name = f"localhost/nights/{uuid.uuid4().hex}"
    timed = solve.with_options(timeout_seconds=4, retries=1)

    @flow(experiment=f"{name}:one")
    def first():
        timed("highs", slow_instance(), resume=True, return_state=True)
        solve("highs", eight_capacities())

    sealed = run_flow(first)
    assert sealed.column("prefect.attempt") == [1, 2, 1]
    retried = sealed.runs[1]
    assert retried.get_solution("incumbent").feasible
    before = sealed.runs[0].get_solution("incumbent")
    assert sealed.column("start_objective") == [None, pytest.approx(before.objective), None]
    digest = hashlib.sha256(before.to_v2_bytes()).hexdigest()
    assert sealed.column("start")[1].split()[1] == f"sha256:{digest}"
    assert sealed.column("objective")[1] >= before.objective - 1e-9  # it is maximised

    @flow(experiment=f"{name}:two")
    def second():
        solve("scip", eight_capacities(), start="previous")
        solve("highs", load_instance(instance_file("flugpl.mps")).instance, start="previous")

    sealed = run_flow(second)
    assert sealed.column("start_objective") == [1787.0, None]
    assert "no earlier solve" in sealed.column("start_left_out")[1]
