"""The nightly benchmark solves real files, survives broken ones, and says so in what it seals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ommx import Optimality

from tests.support.instance_files import are_here, instance_file, reference
from tests.support.reading import Sealed, run_flow

sys.path.append(str(Path(__file__).resolve().parents[2] / "flows"))
import benchmark_arguments
import benchmark_findings
import benchmark_rows
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
TINY = "NAME\nROWS\n N cost\n G r\nCOLUMNS\n x cost 2 r 1\nRHS\n rhs r 3\nENDATA\n"
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


def solved_row(instance: str, adapter: str, **known: Any) -> dict[str, Any]:
    row = benchmark_rows.row_of(instance, f"{instance}.mps", adapter)
    plain = {"variant": "", "sense": "minimize", "limit": 8.0, "outcome": "optimal"}
    return row | plain | known


def test_the_mean_of_seconds_is_geometric_and_shifted_and_a_failure_counts_its_limit():
    rows = [
        solved_row("a", "highs", seconds=0.5, objective=1.0),
        solved_row("b", "highs", seconds=3.0, objective=1.0),
        solved_row("c", "highs", seconds=1.0, outcome="error"),
    ]
    (totals,) = benchmark_findings.totals_of(rows)
    expected = ((0.5 + 10) * (3 + 10) * (8 + 10)) ** (1 / 3) - 10
    assert totals["seconds_mean"] == pytest.approx(expected)
    assert totals["par"] == pytest.approx((0.5 + 3 + 80) / 3)
    assert (totals["optimal"], totals["feasible"], totals["other"]) == (2, 0, 1)
    assert benchmark_findings.totals_of([]) == []


def test_solvers_that_contradict_each_other_are_told():
    rows = [
        solved_row("a", "highs", objective=1.0, seconds=1.0),
        solved_row("a", "scip", objective=2.0, seconds=1.0),
    ]
    (found,) = benchmark_findings.contradictions_of(rows)
    assert (found["instance"], found["claim"], found["against"]) == ("a", "optimal 2", "optimal 1")


def test_a_variant_is_read_with_its_options():
    choice = benchmark_arguments.choice_of("highs:presolve=off,threads=2")
    assert dict(choice.options) == {"presolve": "off", "threads": 2}
    assert choice.variant == "presolve=off, threads=2"
    for wrong in ("highs", "gurobi:x=1", "highs:presolve", "highs:=1"):
        with pytest.raises(ValueError, match="is no SOLVER"):
            benchmark_arguments.choice_of(wrong)


def test_task_runs_have_the_names_of_instance_and_solver(night):
    names = {row["name"] for row in night.ledger["task_runs"]}
    assert {"afiro highs", "afiro scip"} <= names


@pytest.mark.parametrize(("sense", "gaps"), [("minimize", [0.0, 0.2]), ("maximize", [0.2, 0.0])])
def test_a_gap_is_the_distance_to_the_best_objective_of_its_instance(sense, gaps):
    rows = [benchmark_rows.row_of("a", "a.mps", adapter) for adapter in ADAPTERS]
    for row, objective in zip(rows, (8.0, 10.0), strict=True):
        row |= {"objective": objective, "sense": sense}
    benchmark_rows.fill_gaps(rows)
    assert [row["gap_to_best"] for row in rows] == pytest.approx(gaps)


def test_rows_come_in_the_order_of_names_and_of_numbers():
    rows = [benchmark_rows.row_of("a", "a.mps", "highs", seed) for seed in (10, 2, 0)]
    rows += [benchmark_rows.row_of("b", "b.mps"), benchmark_rows.row_of("a", "a.mps", "highs")]
    found = [(row["instance"], row["seed"]) for row in benchmark_rows.in_order(rows)]
    assert found == [("a", None), ("a", 0), ("a", 2), ("a", 10), ("b", None)]


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
    }


def test_prefect_finds_the_flow_by_its_entrypoint_from_any_folder(own_place, tmp_path):
    code = (
        "from prefect.flows import load_flow_from_entrypoint as load;"
        f"print(load({str(SCRIPT) + ':solver_benchmark'!r}).name)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, env=own_place, cwd=tmp_path, text=True)
    assert found == "solver-benchmark\n"


# ---------------------------------------------------------------- as a user runs it


@pytest.fixture(scope="module")
def own_place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a newcomer: an empty registry, an empty Prefect home, no server."""
    folder = tmp_path_factory.mktemp("newcomer")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "OMMX_"))}
    paths = {name: str(folder / name) for name in ("OMMX_LOCAL_REGISTRY_ROOT", "PREFECT_HOME")}
    return {**kept, **paths}


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **streams)


def in_place(environment: dict[str, str], code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.check_output(command, env=environment, text=True)


def test_a_newcomers_run_ends_cleanly_and_its_line_opens_what_it_sealed(own_place, tmp_path):
    (tmp_path / "tiny.mps").write_text(TINY)
    (tmp_path / "empty.mps").touch()
    page = tmp_path / "night.html"
    more = ["--variant", "highs:presolve=off", "--report", str(page), "--compare-with", "latest"]
    process = start(own_place, str(tmp_path), "--seeds", "1,2", "--time-limit", "5", *more)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0
    assert errors == ""
    assert "Traceback" not in output
    (line,) = re.findall(r'python -c "(.*)"', output)
    assert "tiny" in in_place(own_place, line)
    (name,) = re.findall(r"^Sealed (\S+)$", output, re.MULTILINE)
    counted = f"from ommx.experiment import Experiment as E; print(len(E.load('{name}').runs))"
    assert int(in_place(own_place, counted)) == 3 * 2 + 1
    text = page.read_text()
    assert "presolve=off" in text
    assert name in text


def test_a_second_night_is_compared_with_the_one_before(own_place, tmp_path):
    (tmp_path / "tiny.mps").write_text(TINY)
    told = [str(tmp_path), "--adapter", "highs", "--experiment", "localhost/tests/again"]
    for number in range(2):
        process = start(own_place, *told, "--compare-with", "latest")
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert ("Compared with localhost/tests/again:" in output) is (number == 1)
    assert "1 same" in output


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are POSIX")
def test_ctrl_c_keeps_what_is_done_and_leaves_no_traceback(own_place):
    process = start(own_place, "--adapter", "highs", "--time-limit", "3")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("mkp-"):  # HiGHS 1.16 says hello first
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in output + errors
    (line,) = re.findall(r"Experiment\.(restore_from_checkpoint\(.*\))", errors)
    found = in_place(
        own_place, f"from ommx.experiment import Experiment as E; print(len(E.{line}.runs))"
    )
    assert 1 <= int(found) < 6


@pytest.mark.parametrize("arguments", [["--experiment", "Not A Name"], ["--adapter", "gurobi"]])
def test_what_cannot_run_at_all_is_said_in_words(own_place, arguments):
    process = start(own_place, *arguments)
    output, errors = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "Traceback" not in output + errors
    assert arguments[1] in errors


def test_a_benchmark_that_could_read_nothing_fails_and_says_why(own_place, tmp_path):
    process = start(own_place, str(tmp_path / "missing"), str(tmp_path / "gone.mps"))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in output + errors
    assert "no source holds an instance" in errors
    assert "no such file" in errors
