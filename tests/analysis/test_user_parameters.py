"""Run parameters that users gave the names of ours, and that mean something else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ommx.experiment import Experiment
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect.analysis import compare, contradictions, solves, totals, write_trc
from ommx_prefect.analysis._logged import options_said
from tests.support.nights import knapsack

_numbers = itertools.count()


def night_with(solved: bool = True, **parameters: Any) -> Experiment:
    """A night of one Run, which a user gave parameters."""
    night = Experiment(f"nights.local/users:n{next(_numbers)}")
    with night.run() as run:
        for name, value in parameters.items():
            run.log_parameter(name, value)
        if solved:
            run.log_solve(OMMXHighsAdapter, knapsack(5, "small"), verbose=False)
    night.commit()
    return Experiment.load(night.image_name)


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("nodes", 2.5, "nodes"),
        ("seed", "random", "seed"),
        ("seed", True, "seed"),
        ("gap", "1%", "gap"),
        ("solve_seconds", "long", "seconds"),
        ("instance_digest", "abc", "digest"),
        ("instance", 7, "instance"),
        ("sense", "max", "sense"),
        ("outcome", "great", "outcome"),
        ("objective", "makespan", "objective"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_not_read(name, value, column, tmp_path):
    table = solves(night_with(**{name: value}))
    plain = solves(night_with())
    assert table[column].astype(object).equals(plain[column].astype(object))
    assert compare(plain, table).counts == {"same": 1}
    assert contradictions(table).empty
    assert totals(table)["solved"].tolist() == [1]
    write_trc(table, tmp_path / "night.trc")


def test_whole_numbers_in_a_column_of_floats_are_read():
    assert solves(night_with(nodes=3.0))["nodes"].tolist() == [3]


def test_a_task_that_solves_nothing_is_no_solve():
    night = night_with(solved=False, instance="p0033", adapter="highs")
    assert solves(night).empty
    assert compare(solves(night), solves(night)).table.empty


def test_solves_without_a_sense_can_be_compared_and_written(tmp_path):
    table = solves(night_with()).assign(sense=None)
    assert compare(table, table).counts == {"same": 1}
    odd = table.assign(sense="max", instance=None, digest=None)
    write_trc(odd, tmp_path / "night.trc")
    assert "\nNA,highs,0,NA,1,1," in (tmp_path / "night.trc").read_text()


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        ("OMMXHighsAdapter", {"mip_rel_gap": 0.1, "threads": 2}),
        ("OMMXPySCIPOptAdapter", {"limits/gap": 0.1, "lp/threads": 2}),
        ("OMMXPythonMIPAdapter", {"max_mip_gap": 0.1, "threads": 2}),
        ("OMMXOpenJijSAAdapter", {}),
        ("MyAdapter", {}),
    ],
)
def test_limits_of_a_solve_without_a_record_are_the_options_that_it_had(adapter, options):
    limits = {"mip_gap": 0.1, "threads": 2, "time_limit_seconds": 60, "seed": 1}
    assert options_said({"adapter": adapter, **limits}) == options
