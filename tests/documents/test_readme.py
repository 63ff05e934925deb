"""The README's code runs as it stands, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ommx_prefect
from ommx_prefect import exceptions
from ommx_prefect._shards.shard import Attempt
from tests.crash import suite as crash_suite

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("server")
def test_the_quickstart_records_and_the_next_morning_reads_it(open_instances):
    scope: dict[str, object] = {}
    first, recording, reading = BLOCKS
    exec(first.replace("# was: from prefect import flow, task", ""), scope)
    exec(recording, scope)
    nightly = scope["nightly"]
    assert callable(nightly)
    nightly([str(open_instances / "afiro.mps"), str(open_instances / "p0033.mps.gz")])
    exec(reading, scope)
    night = scope["night"]
    objectives = sorted(round(run.solves[0].output.objective) for run in night.runs)  # type: ignore[attr-defined]
    assert objectives == [-465, 3089]
    assert sorted(night.run_parameters_df()["variables"]) == [32, 33]  # type: ignore[attr-defined]


def test_every_public_name_is_in_the_readme():
    missing = [name for name in ommx_prefect.__all__ if name not in README]
    assert missing == ["SealedExperiment"]


def test_the_columns_of_every_run_are_in_the_readme():
    attempt = Attempt("o", "f", 1, "t", "task", "task-0", 1, "n", 1.5, "h", 7)
    assert all(f"`{name}`" in README for name in attempt.parameters("Completed", 1.0))


def test_the_tree_of_errors_names_every_error():
    tree = exceptions.__doc__ or ""
    errors = [
        x
        for x in vars(exceptions).values()
        if isinstance(x, type) and x.__module__ == exceptions.__name__
    ]
    assert all(error.__name__ in tree for error in errors)


def test_what_the_guarantees_say_is_shown_by_cases_and_tests_that_exist():
    table = README.partition("## When things die")[2].partition("### recover")[0]
    rows = [line.split("|")[-2] for line in table.splitlines() if line.startswith("| ")][1:]
    known = "\n".join(path.read_text() for path in (CHECKOUT / "tests").rglob("test_*.py"))
    shown = [re.findall(r'"([^"]+)"', row) for row in rows]
    tests = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert all(cases or names for cases, names in zip(shown, tests, strict=True))
    assert {case for row in shown for case in row} == set(crash_suite.cases())
    assert [x for row in tests for x in row if f"def {x}(" not in known] == []
