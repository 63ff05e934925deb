"""Starts that are none, and which of several solutions is taken."""

from __future__ import annotations

import contextlib
import hashlib
import math
from dataclasses import replace

import pytest
from ommx.experiment import Experiment

from ommx_prefect._registry.blobs import blob_path
from ommx_prefect._registry.names import find
from ommx_prefect._solver.start import UnfitStartError, solution_in
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._targets.annotations import DEPLOYMENT_ID, FLOW_RUN_ID
from ommx_prefect.exceptions import SolverOptionError
from ommx_prefect.solvers._earlier import _in_experiments, _sealed_before, best_of
from ommx_prefect.solvers._solve import solve_in
from ommx_prefect.testing._scene import new_id
from tests.support.models import knapsack
from tests.support.solving import BITS, instance_of, recorded
from tests.support.tiers import full

ODD_STARTS = [
    ({0: math.nan, 1: 1.0, 2: 1.0}, "its value for variable 0 is nan"),
    ({0: 0.0, 1: math.inf, 2: 1.0}, "its value for variable 1 is inf"),
    ({"a": 1}, "it is no mapping of ids to numbers"),
    ({0: None, 1: 1, 2: 1}, "it is no mapping of ids to numbers"),
]


@pytest.mark.parametrize(
    ("start", "reason", "isolate"),
    [
        *((*odd, False) for odd in ODD_STARTS),
        (*ODD_STARTS[0], True),
        *full(*((*odd, True) for odd in ODD_STARTS[1:])),
    ],
)
def test_a_start_of_no_numbers_is_left_out_and_ends_no_solve(start, reason, isolate):
    found = recorded(
        solve_in, "highs", knapsack(), limits={}, start=start, isolate=isolate
    ).parameters
    assert found["outcome"] == "optimal"
    assert reason in found["start_left_out"]
    with pytest.raises(SolverOptionError, match=reason):
        recorded(solve_in, "highs", knapsack(), limits={}, start=start, start_required=True)


def test_attachments_of_a_users_own_are_no_solution_of_a_run():
    night = Experiment.with_temp_local_registry()
    with night.run() as run:
        for name in ("incumbent", "output"):
            run.log_json(name, {"x": 1})
    night.commit()
    with pytest.raises(UnfitStartError, match="no Solution"):
        solution_in(night.runs[0])


def test_of_several_solutions_the_best_feasible_one_is_taken():
    instance = knapsack()
    found = [instance.evaluate(dict(enumerate(x))) for x in ([0, 0, 1], [1, 1, 0], [1, 1, 1])]
    assert [x.feasible for x in found] == [True, True, False]
    assert best_of(found).objective == 5.0
    low = instance_of([BITS[0]], BITS[0])
    assert best_of([low.evaluate({0: 1}), low.evaluate({0: 0})]).objective == 0.0


def test_the_best_solution_of_an_earlier_experiment_is_the_start():
    repository = f"nights.local/earlier-{new_id()}"
    night = Experiment(f"{repository}:one")
    for values in ({0: 0, 1: 0, 2: 1}, {0: 1, 1: 1, 2: 0}, {0: 0, 1: 1, 2: 1}):
        with night.run() as run:
            run.log_parameter("instance", "knapsack")
            run.log_solution("incumbent", knapsack().evaluate(values))
    with night.run() as run:
        run.log_parameter("other", 1)
    night.commit()
    own = new_id()
    two = f"{repository}:two"
    record = FlowRecord(own, two, False, (), False, own, "owl", "night", "", "", {})
    (found,) = _in_experiments(record, "knapsack", resume=False)
    assert found.objective == 5.0


def night_of(image: str, deployment: str, values: dict[int, int]) -> None:
    night = Experiment(image)
    night.set_annotation(DEPLOYMENT_ID, deployment)
    with night.run() as run:
        run.log_parameter("instance", "knapsack")
        run.log_solution("incumbent", knapsack().evaluate(values))
    night.commit()


def test_a_night_before_is_one_of_the_same_deployment_whatever_its_name():
    series, own = new_id(), new_id()
    deployment = new_id()
    night_of(f"nights.local/a-{series}:one", deployment, {0: 1, 1: 1, 2: 0})
    night_of(f"nights.local/b-{series}:one", new_id(), {0: 0, 1: 0, 2: 1})
    image = f"nights.local/c-{series}:two"
    record = FlowRecord(own, image, False, (), False, own, "owl", "night", deployment, "", {})
    assert [x.objective for x in _in_experiments(record, "knapsack", resume=False)] == [5.0]
    assert list(_in_experiments(record, "other", resume=False)) == []
    none = replace(record, deployment_id="")
    assert list(_in_experiments(none, "knapsack", resume=False)) == []


@pytest.mark.parametrize("whose", ["the solution", "the experiment"])
def test_a_damaged_night_is_passed_over_and_the_one_before_it_is_taken(whose):
    repository, own = f"nights.local/damaged-{new_id()}", new_id()
    night_of(f"{repository}:one", new_id(), {0: 0, 1: 0, 2: 1})
    night_of(f"{repository}:two", new_id(), {0: 1, 1: 0, 2: 1})  # whose bytes are nobody else's
    record = FlowRecord(own, f"{repository}:three", False, (), False, own, "o", "n", "", "", {})

    def objectives():
        return [x.objective for x in _in_experiments(record, "knapsack", resume=False)]

    assert objectives() == [4.0, 1.0]
    night = Experiment.load(f"{repository}:two")
    stored = night.runs[0].get_blob("incumbent")
    digest = f"sha256:{hashlib.sha256(stored).hexdigest()}"
    blob_path(digest if whose == "the solution" else find(night.image_name)).unlink()
    assert objectives() == [1.0]


def test_an_unsealed_night_is_resumed_and_is_no_previous_one():
    repository, own = f"nights.local/failed-{new_id()}", new_id()
    with contextlib.suppress(ValueError), Experiment(f"{repository}:one") as night:
        with night.run() as run:
            run.log_parameter("instance", "knapsack")
            run.log_solution("incumbent", knapsack().evaluate({0: 1, 1: 1, 2: 0}))
        raise ValueError("the night fell")
    record = FlowRecord(own, f"{repository}:two", False, (), False, own, "o", "n", "", "", {})
    assert list(_in_experiments(record, "knapsack", resume=False)) == []
    assert [x.objective for x in _in_experiments(record, "knapsack", resume=True)] == [5.0]


def test_a_retry_of_a_flow_run_that_was_sealed_begins_with_what_its_own_task_left():
    flow_run_id, name = new_id(), f"nights.local/retried-{new_id()}:one"
    night = Experiment(name)
    night.set_annotation(FLOW_RUN_ID, flow_run_id)
    left = (
        ("solve", "OMMXHighsAdapter", {0: 0, 1: 0, 2: 1}),
        ("solve", "OMMXPySCIPOptAdapter", {0: 1, 1: 1, 2: 0}),
        ("other", "OMMXHighsAdapter", {0: 1, 1: 1, 2: 0}),
    )
    for task, adapter, values in left:
        with night.run() as run:
            run.log_parameter("instance", "knapsack")
            run.log_parameter("adapter", adapter)
            run.log_parameter("prefect.task", task)
            run.log_solution("incumbent", knapsack().evaluate(values))
    night.commit()
    record = FlowRecord(
        flow_run_id, name, False, (), False, flow_run_id, "owl", "night", "", "", {}
    )
    of_own = [x.objective for x in _sealed_before(record, "solve", "knapsack", "OMMXHighsAdapter")]
    assert of_own == [knapsack().evaluate({0: 0, 1: 0, 2: 1}).objective]
    assert list(_in_experiments(record, "knapsack", resume=True)) == []
