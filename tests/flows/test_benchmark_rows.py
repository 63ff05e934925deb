"""The rows, gaps, totals and variants of a benchmark, without a solve."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from ommx.experiment import Experiment

sys.path.append(str(Path(__file__).resolve().parents[2] / "flows"))
import benchmark_arguments
import benchmark_findings
import benchmark_rows

ADAPTERS = {"highs": "OMMXHighsAdapter", "scip": "OMMXPySCIPOptAdapter"}


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


def test_the_latest_night_is_found_under_a_name_without_a_registry(capsys):
    name = f"myteam/bench-{uuid.uuid4().hex[:8]}"
    assert benchmark_findings.earlier_night("latest", name) is None
    assert f"no earlier night of docker.io/{name} here" in " ".join(capsys.readouterr().out.split())
    for tag, part in (("one", ""), ("part", "of another")):
        night = Experiment(f"{name}:{tag}")
        if part:
            night.set_annotation("org.ommx-prefect.part-of", part)
        night.commit()
    for asked in (name, f"{name}:two"):
        found = benchmark_findings.earlier_night("latest", asked)
        assert found is not None
        assert found.image_name == f"docker.io/{name}:one"
