"""A solve is found in Prefect's cache by the content of its instance, and recorded like a solve."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ommx import Instance, Sense
from ommx_highs_adapter import OMMXHighsAdapter
from prefect.cache_policies import INPUTS
from prefect.task_runners import ProcessPoolTaskRunner

from ommx_prefect import flow, instance_digest, load_experiment
from ommx_prefect.analysis import solves
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import sample, solve
from tests.support.models import knapsack
from tests.support.reading import Sealed, run_flow
from tests.support.solving import BITS, X, instance_of, penalised
from tests.support.tiers import full

CACHED = """
import sys
from prefect.cache_policies import INPUTS
from ommx_prefect import flow
from ommx_prefect.instances import load_instance
from ommx_prefect.solvers import solve

@flow
def once():
    kept = solve.with_options(cache_policy=INPUTS, persist_result=True)
    state = kept("highs", load_instance(sys.argv[1]).instance, seed=5, return_state=True)
    print(state.name, state.result().objective, state.state_details.flow_run_id)

once()
"""


def twice(task: Any, adapter: Any, make: Callable[[], Instance], **kwargs: Any) -> Sealed:
    """Call a task twice with equal instances, so that the second call finds the first's result."""
    runner = kwargs.pop("runner", None)
    kept = task.with_options(cache_policy=INPUTS, persist_result=True)

    @flow
    def one() -> None:
        kept.submit(adapter, make(), **kwargs).wait()
        kept.submit(adapter, make(), **kwargs).wait()

    sealed = run_flow(one.with_options(task_runner=runner) if runner else one)
    assert sealed.column("prefect.state") == ["Completed", "Cached"]
    assert sealed.statuses == ["finished", "finished"]
    assert [len(run.solves) + len(run.samplings) for run in sealed.runs] == [1, 0]
    return sealed


# What is of a solve alone: a cached result took none of it.
TIMES = (
    "solve_seconds",
    "cpu_seconds",
    "solves_at_once",
    "first_solution_seconds",
    "primal_dual_integral",
)
COUNTS = ("nodes", "iterations", "incumbents", "solver_version")


def said(sealed: Sealed) -> list[dict[str, Any]]:
    """What each Run says of its solve."""
    names = [name for name in sealed.experiment.run_parameters_df() if "prefect." not in name]
    columns = {name: sealed.column(name) for name in names}
    return [
        {name: cells[row] for name, cells in columns.items() if cells[row] is not None}
        for row in range(len(sealed.runs))
    ]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "runner", [None, *full(ProcessPoolTaskRunner)], ids=["threads", "processes"]
)
def test_a_cached_solve_says_what_the_solve_said_but_for_its_seconds(runner):
    limits = {"time_limit_seconds": 9 if runner else 10, "seed": 3}
    sealed = twice(solve, "highs", knapsack, **limits, runner=runner and runner(max_workers=1))
    solved, cached = said(sealed)
    times = [solved.pop(name) for name in TIMES]
    assert min(times) > 0
    assert cached == solved
    assert {name: cached.pop(name) is not None for name in COUNTS} == dict.fromkeys(COUNTS, True)
    assert cached == {
        "instance": "knapsack",
        "instance_digest": instance_digest(knapsack()),
        "adapter": "OMMXHighsAdapter",
        "sense": "maximize",
        "outcome": "optimal",
        "objective": 5.0,
        "feasible": True,
        "optimality": "optimal",
        "dual_bound": 5.0,
        "gap": 0.0,
        **limits,
    }
    attached = [run.attachment_names for run in sealed.runs]
    assert attached == [["solver.log", "trajectory"], ["output"]]
    assert sealed.runs[1].get_solution("output").objective == 5.0
    assert "org.ommx-prefect.degraded" not in sealed.experiment.annotations


@pytest.mark.usefixtures("server")
def test_a_cached_solution_within_a_wide_gap_is_not_called_optimal(open_instances):
    def flugpl() -> Instance:
        return load_instance(open_instances / "flugpl.mps").instance

    sealed = twice(solve, "highs", flugpl, options={"mip_rel_gap": 0.5}, seed=4)
    table = solves(sealed.experiment)
    assert table["cached"].tolist() == [False, True]
    assert table["variant"].tolist() == ["mip_rel_gap=0.5"] * 2
    assert table["digest"].nunique() == 1
    solved, cached = said(sealed)
    assert (cached["outcome"], cached["optimality"]) == ("feasible", "optimal")
    assert cached.pop("option.mip_rel_gap") == 0.5  # of the other the record of its Solve tells
    assert cached == {
        name: solved[name] for name in solved if name not in (*TIMES, "solves_at_once")
    }


@pytest.mark.usefixtures("server")
def test_a_cached_none_says_that_there_was_no_solution():
    def unbounded() -> Instance:
        return instance_of([X], X, sense=Sense.Maximize)

    sealed = twice(solve, OMMXHighsAdapter, unbounded, seed=2, raise_on_failure=False)
    solved, cached = said(sealed)
    # None does not say which outcome it was.
    told = ("instance", "instance_digest", "adapter", "sense", "feasible", "seed")
    assert cached == {name: solved[name] for name in told}
    assert cached["feasible"] is False
    assert sealed.runs[1].attachment_names == []


def qubo() -> Instance:
    return instance_of(BITS, BITS[0] - 2 * BITS[1] * BITS[2])


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("make", [penalised, qubo], ids=["none feasible", "feasible"])
def test_cached_samples_say_what_the_sampling_said(make):
    sealed = twice(sample, "openjij", make, num_reads=4, seed=1, raise_on_failure=False)
    solved, cached = said(sealed)
    assert (cached.pop("option.num_reads"), cached.pop("option.seed")) == (4, 1)
    assert cached == {name: solved[name] for name in solved if name != "solve_seconds"}
    assert cached["num_samples"] == sealed.runs[1].get_sample_set("output").num_samples() == 4
    assert cached["outcome"] == ("no_solution" if make is penalised else "feasible")


@pytest.mark.usefixtures("server")
def test_another_process_finds_the_solve_of_the_same_file(open_instances, tmp_path):
    def printed(path: Path) -> tuple[list[str], dict[str, Any], list[str]]:
        command = [sys.executable, "-c", CACHED, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        *state, flow_run_id = done.stdout.split()[-3:]  # HiGHS 1.16 says hello first
        experiment = load_experiment(flow_run_id)
        (row,) = experiment.run_parameters_df().to_dict("records")
        names = ("instance", "adapter", "outcome", "objective", "feasible", "optimality", "seed")
        return state, {name: row[name] for name in names}, experiment.runs[0].attachment_names

    moved = tmp_path / "flugpl.mps"
    moved.write_bytes((open_instances / "flugpl.mps").read_bytes())
    state, solved, attached = printed(open_instances / "flugpl.mps")
    assert state == ["Completed", "1201500.0"]
    assert attached == ["solver.log", "trajectory"]
    state, cached, attached = printed(moved)
    assert (state, attached) == (["Cached", "1201500.0"], ["output"])
    assert cached == solved


def test_the_key_of_the_inputs_policy_follows_every_argument(open_instances):
    def key(file: str = "flugpl.mps", **changes: Any) -> str | None:
        instance = load_instance(open_instances / file).instance
        inputs = {"adapter": OMMXHighsAdapter, "instance": instance, "seed": 1, **changes}
        return INPUTS.compute_key(None, inputs, {})

    assert key() == key()
    assert len({key(), key("afiro.mps"), key(seed=2), key(adapter="highs")}) == 4
