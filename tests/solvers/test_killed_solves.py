"""`kill -9` at a random moment leaves what the solver had an interval ago, and the retry has it."""

from __future__ import annotations

import os

import pytest
from ommx.experiment import SealedRun

from ommx_prefect import load_experiment
from ommx_prefect._recovery.recover import recover
from tests.support.instance_files import instance_file
from tests.support.killed_solves import Killed, killed
from tests.support.tiers import full

# By hand, ten in a row: OMMX_PREFECT_KILLS=10 pytest -n 0 -s tests/solvers/test_killed_solves.py
KILLS = int(os.environ.get("OMMX_PREFECT_KILLS", "2"))
SECONDS = 1.0
# A look at the solver, a write, and a machine that has other things to do.
SLACK = 2.0


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("adapter", ["highs", *full("scip")])
def test_an_incumbent_is_no_older_than_its_interval_and_a_retry_goes_on_from_it(tmp_path, adapter):
    path, flow_run_id, before = instance_file("gen-ip054.mps"), "", None
    for _ in range(KILLS):
        found = killed(tmp_path, path, adapter, SECONDS, flow_run_id)
        print(found, f"load {os.getloadavg()[0]:.1f}")
        assert found.late_seconds <= SECONDS + SLACK
        if before is not None:  # the first solution of a retry is no worse than what was left
            assert found.first <= before + 1e-6 * abs(before)
            assert found.durable <= before
        flow_run_id, before = found.flow_run_id, found.durable if found.durable else before


@pytest.mark.usefixtures("server")
def test_a_retry_goes_on_from_what_was_sealed_when_its_flow_run_had_died(tmp_path):
    path = instance_file("gen-ip054.mps")
    died = killed(tmp_path, path, "highs", 0.2)
    while died.durable is None:  # at once
        died = killed(tmp_path, path, "highs", 0.2)
    done = {x.flow_run_id: (x.done, x.why) for x in recover(min_age_seconds=0, mark_crashed=True)}
    assert done[died.flow_run_id][0] == "sealed", done[died.flow_run_id]
    assert min(run.get_solution("incumbent").objective for run in runs_of(died)) == died.durable
    retried = killed(tmp_path, path, "highs", 0.2, died.flow_run_id)
    assert retried.first is not None
    assert retried.first <= died.durable + 1e-6 * abs(died.durable)


def runs_of(died: Killed) -> list[SealedRun]:
    runs = load_experiment(died.flow_run_id).runs
    return [run for run in runs if "incumbent" in run.attachment_names]
