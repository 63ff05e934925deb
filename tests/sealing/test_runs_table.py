"""The table of Runs in Prefect's UI: what comes first, and what its cells say."""

from __future__ import annotations

import json
import math

import pytest

from ommx_prefect._format.model import ExperimentRecord, RunRecord
from ommx_prefect._sealing import runs_table as table_module
from ommx_prefect._sealing.runs_table import FIRST_COLUMNS, runs_table, table_text

PREFECT = {"prefect.task": "t", "prefect.attempt": 1, "prefect.state": "Failed"}
HIDDEN = {"prefect.host": "h", "prefect.task_run_id": "0-0"}


def experiment(*runs: RunRecord) -> ExperimentRecord:
    return ExperimentRecord("finished", runs)


def only_row(**run: object) -> dict[str, object]:
    (row,) = runs_table(experiment(RunRecord(**{"status": "finished", **run})))  # type: ignore[arg-type]
    return row


@pytest.mark.parametrize("name", sorted(FIRST_COLUMNS))
def test_a_logged_parameter_with_the_name_of_a_column_hides_nothing(name):
    run = RunRecord("failed", "it broke", parameters={**PREFECT, name: "mine"})
    (row,) = runs_table(experiment(run))
    assert (row["run"], row["status"], row["reason"]) == (0, "failed", "it broke")
    assert (row["task"], row["attempt"], row["state"]) == ("t", 1, "Failed")
    assert row.get(f"{name} (logged)", row[name]) == "mine"


def test_what_a_person_wants_comes_first_and_what_machines_want_is_left_out():
    parameters = {
        **PREFECT,
        **HIDDEN,
        "zeta": 1,
        "alpha": 2,
        "objective": 1.5,
        "outcome": "optimal",
    }
    row = only_row(parameters={**parameters, "instance": "afiro", "prefect.duration_seconds": 0.25})
    assert list(row) == [
        *("run", "status", "instance", "outcome", "objective", "reason", "seconds", "task"),
        *("attempt", "state", "alpha", "zeta"),
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[(x, x) for x in (4e-4, 1e-7, 0.0, -1.5, 123456789.25, 7, True, "text")],
        (0.1 + 0.2, 0.3),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_values_are_shown_short_and_never_as_another_number(value, shown):
    row = only_row(parameters={"v": value})
    assert row["v"] == shown
    assert json.loads(json.dumps(row)) == row


def test_a_run_whose_process_was_killed_does_not_say_that_it_is_running():
    row = only_row(status="interrupted", parameters={"prefect.state": "Running"})
    assert row["state"] == "Running when it died"


def test_the_worst_runs_come_first():
    statuses = ("finished", "interrupted", "failed", "finished", "failed")
    rows = runs_table(experiment(*map(RunRecord, statuses)))
    assert [row["run"] for row in rows] == [2, 4, 1, 0, 3]


def test_a_table_is_bounded_in_rows_and_bytes(monkeypatch):
    many = [{"run": number, "text": "x" * 190} for number in range(3_000)]
    text, fitting = table_text(many)
    assert fitting == len(json.loads(text)) == table_module.MOST_ROWS
    wide = [{f"c{column}": "x" * 190 for column in range(40)} for _ in range(500)]
    text, fitting = table_text(wide)
    assert len(text) <= table_module.MOST_BYTES
    assert 0 < fitting == len(json.loads(text)) < 500
