"""The nightly benchmark solves real files, survives broken ones, and says so in what it seals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ommx import Optimality

from tests.support.instance_files import TINY, are_here, instance_file, reference
from tests.support.reading import Sealed, run_flow

sys.path.append(str(Path(__file__).resolve().parents[2] / "flows"))
import hard_instances
import solver_benchmark

SCRIPT = Path(solver_benchmark.__file__)
SOLVED = ("afiro.mps", "packing35.mps.gz", "flugpl.mps", "transport1500.mps.gz")
SOLVED += are_here("p0033.mps.gz", "25fv47.mps.gz")
WITHOUT_SOLUTION = {"klein1.mps": "infeasible", "good-mps-free-var.mps": "unbounded"}
UNREADABLE = {
    "bad-mps-15.mps": "empty",
    "bad-mps-6.mps": "ENDATA",
    "garbage.mps": "ENDATA",
    "nan0.mps": "NaN",
    "packing35-truncated.mps.gz": "gzip",
}
ADAPTERS = {"highs": "OMMXHighsAdapter", "scip": "OMMXPySCIPOptAdapter"}
# Ample for what is solved in 0.5 s, on a busy machine too; gen-ip054 takes all of it.
TIME_LIMIT_SECONDS = 8.0


@pytest.fixture(scope="module")
def night(server: str, open_instances: Path) -> Sealed:
    """One run of the flow over real instances, a folder of broken ones, and a missing file."""
    names = [*SOLVED, *WITHOUT_SOLUTION, "gen-ip054.mps", "malformed"]
    return run_flow(
        solver_benchmark.solver_benchmark,
        [*(str(instance_file(name)) for name in names), str(open_instances / "missing.mps")],
        time_limit_seconds=TIME_LIMIT_SECONDS,
        experiment="localhost/tests/nightly",
    )


def stem(name: str) -> str:
    return name.partition(".")[0]


def cells_of(night: Sealed, **wanted: str) -> list[dict[str, Any]]:
    """The run parameters of the Runs that have these values; None for those that are missing."""
    frame = night.experiment.run_parameters_df().astype(object)
    records = frame.where(frame.notna(), None).to_dict("records")
    found = [{**each, "run": run} for run, each in zip(night.runs, records, strict=True)]
    return [each for each in found if wanted.items() <= each.items()]


@pytest.mark.parametrize("adapter", ADAPTERS.values())
@pytest.mark.parametrize("name", SOLVED)
def test_the_sealed_objective_is_the_reference(night, name, adapter):
    expected_row = reference()[name]
    (cells,) = cells_of(night, instance=stem(name), adapter=adapter)
    expected = pytest.approx(float(expected_row["reference_objective"]), rel=1e-4)
    assert cells["outcome"] == "optimal"
    assert cells["objective"] == expected
    assert (cells["variables"], cells["constraints"]) == (
        int(expected_row["variables"]),
        int(expected_row["constraints"]),
    )


@pytest.mark.parametrize("adapter", ADAPTERS.values())
@pytest.mark.parametrize("name", SOLVED)
def test_the_sealed_solution_is_feasible_and_has_that_objective(night, name, adapter):
    (cells,) = cells_of(night, instance=stem(name), adapter=adapter)
    (solve,) = cells["run"].solves
    assert solve.output.feasible
    assert solve.output.objective == pytest.approx(cells["objective"])


@pytest.mark.parametrize("adapter", ADAPTERS.values())
@pytest.mark.parametrize(("name", "outcome"), WITHOUT_SOLUTION.items())
def test_an_instance_without_a_solution_is_one_run_with_its_reason(night, name, outcome, adapter):
    (cells,) = cells_of(night, instance=stem(name), adapter=adapter)
    assert cells["outcome"] == outcome
    assert outcome in cells["reason"].replace("no solution satisfies", "infeasible")
    assert cells["objective"] is None


@pytest.mark.parametrize("adapter", ADAPTERS.values())
def test_a_solve_ends_at_its_time_limit_with_its_incumbent(night, adapter):
    (cells,) = cells_of(night, instance="gen-ip054", adapter=adapter)
    assert cells["outcome"] == "feasible"
    assert cells["time_limit_seconds"] == TIME_LIMIT_SECONDS
    # Not much earlier; a busy machine may stop it later.
    assert TIME_LIMIT_SECONDS - 1 < cells["solve_seconds"] < 10 * TIME_LIMIT_SECONDS


@pytest.mark.parametrize(("name", "reason"), {**UNREADABLE, "missing.mps": "no such file"}.items())
def test_a_file_that_cannot_be_read_is_one_run_with_its_reason(night, name, reason):
    (cells,) = cells_of(night, instance=name)
    assert cells["outcome"] == "unreadable"
    assert reason in cells["reason"]
    assert cells["source"].endswith(name)


def test_every_pair_of_instance_and_adapter_is_one_finished_run(night):
    solved = (len(SOLVED) + len(WITHOUT_SOLUTION) + 1) * len(ADAPTERS)
    assert night.state.is_completed()
    assert night.statuses == ["finished"] * (solved + len(UNREADABLE) + 1)
    assert night.experiment.image_name.startswith("localhost/tests/nightly:")


def test_the_summary_says_what_the_runs_say(night):
    def key(row: dict[str, Any]) -> tuple[str, str | None]:
        return row["source"], ADAPTERS.get(row["adapter"], row["adapter"])

    rows = {key(row): row for row in night.experiment.get_json("summary")}
    runs = {key(row): row for row in cells_of(night)}
    assert rows.keys() == runs.keys()
    for each, row in rows.items():
        for name in ("instance", "outcome", "objective", "seconds", "reason"):
            assert (row[name] or None) == runs[each][name], name


def test_the_totals_count_every_solve_of_an_adapter(night):
    totals = {row["adapter"]: row for row in night.experiment.get_json("totals")}
    assert night.experiment.get_json("contradictions") == []
    assert totals.keys() == ADAPTERS.keys()
    for row in totals.values():
        assert (row["runs"], row["optimal"], row["feasible"], row["other"]) == (
            len(SOLVED) + 3,
            len(SOLVED),
            1,
            2,
        )
        assert 0 < row["seconds_mean"] < TIME_LIMIT_SECONDS


def test_task_runs_have_the_names_of_instance_and_solver(night):
    names = {row["name"] for row in night.ledger["task_runs"]}
    assert {"afiro highs", "afiro scip"} <= names


def test_a_row_has_the_outcome_of_its_run_also_where_ommx_calls_the_solution_otherwise(
    server, tmp_path
):
    # So small an objective that HiGHS stops at its absolute gap, and OMMX says optimal.
    instance = hard_instances.multidimensional_knapsack(40, 5, 0.5, seed=1)
    instance.objective = instance.objective * 1e-9
    instance.save_mps(str(tmp_path / "tiny.mps"), compress=False)
    night = run_flow(solver_benchmark.solver_benchmark, [str(tmp_path / "tiny.mps")], ["highs"])
    (row,) = night.experiment.get_json("summary")
    (run,) = night.runs
    assert run.solves[0].output.optimality == Optimality.Optimal
    assert (night.column("outcome"), row["outcome"]) == (["feasible"], "feasible")


def test_a_seed_that_a_solver_refuses_is_the_outcome_error_in_row_and_run(server, tmp_path):
    (tmp_path / "tiny.mps").write_text(TINY)
    night = run_flow(
        solver_benchmark.solver_benchmark, [str(tmp_path / "tiny.mps")], ["highs"], seeds=[-1, 1]
    )
    rows = night.experiment.get_json("summary")
    assert [row["outcome"] for row in rows] == ["error", "optimal"]
    assert sorted(night.column("outcome")) == ["error", "optimal"]
    assert "seed" in rows[0]["reason"]


def test_a_deployment_can_pass_every_parameter_as_json():
    schema = solver_benchmark.solver_benchmark.parameters.model_dump()
    assert json.loads(json.dumps(schema))["properties"].keys() == {
        "sources",
        "adapters",
        "time_limit_seconds",
        "seeds",
        "experiment",
        "variants",
        "checkpoint_seconds",
    }
