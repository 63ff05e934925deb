"""The contract of all task runners and processes: what the artifact says of every outcome."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from typing import Any

from tests.support.reading import Sealed

OK = ("finished", "Completed", 1)
FAILED = ("failed", "Failed", 1)

# Task -> status, prefect.state and prefect.attempt of its Runs, in order of start.
OUTCOMES = {
    "ok": [OK],
    "raises": [FAILED],
    "returns_failed": [FAILED],
    "second_time_lucky": [FAILED, ("finished", "Completed", 2)],
    "too_slow": [("failed", "TimedOut", 1)],
    "costly": [OK, ("finished", "Cached", 1)],
    "no_codec": [OK],
    "outer": [OK],
    "inner": [OK],
    "mapped": [OK, OK, OK],
}
REASONS = {
    "raises": "ValueError: no such plant",
    "returns_failed": "the solver gave up",
    "too_slow": "timed out after 0.5 seconds",
}
CUT_OFF = ("interrupted", "Running", 1)


def table_of(sealed: Sealed) -> dict[str, list[tuple[Any, ...]]]:
    """What the artifact says of the Runs of each task."""
    columns = [sealed.column(f"prefect.{name}") for name in ("task", "state", "attempt")]
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for status, name, *cells in zip(sealed.statuses, *columns, strict=True):
        found[name].append((status, *cells))
    return found


def check_every_outcome(sealed: Sealed) -> None:
    """The contract: the table, and what stands behind it."""
    assert table_of(sealed) == OUTCOMES
    assert sealed.experiment.status == "finished"
    runs = dict(zip(sealed.column("prefect.task"), sealed.runs, strict=True))
    assert {name: runs[name].lifecycle_reason for name in REASONS} == REASONS
    assert runs["ok"].get_json("output") == 1
    assert sealed.column("logged").count(1) == 1
    assert runs["costly"].get_json("output") == {
        "key": sealed.ledger["flow_run"]["parameters"]["key"]
    }
    (warning,) = sealed.ledger["warnings"]
    assert re.match(r"no_codec\S* \(attempt 1\): output \(\S*Unheard\) is not recorded", warning)
    rows = {row["task"]: row for row in sealed.ledger["runs"]}
    assert rows["inner"]["parent_task_run_id"] == rows["outer"]["task_run_id"]
    listed = sorted(x for row in sealed.ledger["task_runs"] for x in row["run_ids"])
    assert listed == list(range(len(sealed.runs)))


def new_key() -> str:
    return uuid.uuid4().hex
