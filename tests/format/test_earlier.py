"""Which Runs of an experiment are its own is what an annotation says, if it says a number."""

from __future__ import annotations

import pytest

from ommx_prefect._format.earlier import EARLIER_RUNS, first_own_run, own_runs
from ommx_prefect._format.model import ExperimentRecord, RunRecord


@pytest.mark.parametrize(
    ("said", "first"), [("", 0), ("2", 2), ("-1", 0), ("two", 0), ("9" * 5000, 0), ("²", 0)]
)
def test_an_annotation_tells_the_first_own_run_and_another_text_tells_0(said, first):
    assert first_own_run({EARLIER_RUNS: said}) == first


def test_without_an_annotation_all_runs_are_its_own():
    runs = (RunRecord("finished"), RunRecord("failed", "no"))
    assert own_runs(ExperimentRecord("finished", runs)) == list(enumerate(runs))
    accumulated = ExperimentRecord("finished", runs, annotations={EARLIER_RUNS: "1"})
    assert own_runs(accumulated) == [(1, runs[1])]
