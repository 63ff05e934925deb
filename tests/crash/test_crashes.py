"""The crash suite in pytest: cases once, some points of sealing; and proof that it can fail."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.local import LocalStage
from tests.crash.deaths import settle
from tests.crash.judge import Found, Row
from tests.crash.scene import FLOWS, HERE, count, flow_of, python, stop, until
from tests.crash.suite import USUAL, cases, exit_code, table
from tests.support.tiers import some

CHECKOUT = HERE.parents[1]
EVERY_SEALING_POINT = 90
# What only some machines can do at all; whatever else is missing is an error in CI.
MAY_BE_MISSING = "cannot be mounted"


class Suite:
    """A crash suite that runs beside the tests which wait for its lines."""

    def __init__(self, folder, *options):
        self._table, self._log = folder / "table", folder / "log"
        options = ["--every", str(EVERY_SEALING_POINT), *options, "--json", self._table]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.suite", *options],
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
            )

    @property
    def rows(self):
        """The lines of the cases that have ended."""
        lines = self._table.read_text().splitlines(keepends=True) if self._table.exists() else []
        return [Row(**json.loads(line)) for line in lines if line.endswith("\n")]

    def row(self, name):
        """The line of a case; None where the suite has ended without it."""
        while True:
            has_ended = self.process.poll() is not None
            found = [row for row in self.rows if row.where == name]
            if found or has_ended:
                return found[0] if found else None
            time.sleep(0.5)

    @property
    def said(self):
        return self._log.read_text()


@pytest.fixture(scope="module")
def suite(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crashes")
    if request.config.getoption("full"):
        running = Suite(folder)
    else:  # of these no case kills a server
        running = Suite(folder, "--usual", "--api", request.getfixturevalue("server"))
    yield running
    stop(running.process)


@pytest.mark.parametrize("name", some(cases(), USUAL))
def test_nothing_is_lost_or_doubled(suite, name):
    row = suite.row(name)
    assert row is not None, suite.said
    if row.skipped and (MAY_BE_MISSING in row.skipped or not os.environ.get("CI")):
        pytest.skip(row.skipped)
    assert not row.skipped
    assert row.is_good, "\n" + table([row]) + "\n\n" + suite.said
    assert row.times >= 1


def test_the_suite_ends_as_its_table_says(suite):
    assert suite.process.wait() == exit_code(suite.rows), suite.said


def test_the_suite_sees_what_is_lost_doubled_or_wrong(server, tmp_path):
    journal = tmp_path / "journal"
    process = python(FLOWS, "one_by_one", journal)
    flow_run_id, _ = flow_of(journal)
    until(lambda: count(journal, "ended") >= 4, "steps end")
    process.kill()
    process.wait()
    stage = LocalStage(flow_run_id)
    lost, doubled, wrong = (shard.attempt for shard in stage.shards()[:3])
    _sabotage(stage, lost.key, doubled.key, wrong.key)
    settle(flow_run_id)
    row = Row("sabotaged")
    row.judge(journal, Found.here(flow_run_id))
    assert (row.lost, row.doubled) == (2, 1)
    said = "".join(row.problems)
    assert all(attempt.task_run_id in said for attempt in (lost, doubled, wrong))
    assert exit_code([row]) == 1
    assert exit_code([]) == 1  # nothing was looked at


def _sabotage(stage, lost, doubled, wrong):
    """Take one shard away, put one there twice, and turn the status of one."""
    shards = {shard.attempt.key: shard for shard in stage.shards()}
    (stage.path / "shards" / lost).unlink()
    twin = dataclasses.replace(shards[doubled].attempt, nonce="twin")
    stage.put(dataclasses.replace(shards[doubled], attempt=twin))
    stage.put(Shard(shards[wrong].attempt, "failed", "sabotage", shards[wrong].parameters))
