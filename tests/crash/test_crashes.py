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
from tests.support.watchdog import without_coverage

CHECKOUT = HERE.parents[1]
# Cases mostly wait, so two suites run beside each other, each with a server of its own.
PARTS = 2
EVERY_SEALING_POINT = 90
# What only some machines can do at all; whatever else is missing is an error in CI.
MAY_BE_MISSING = "cannot be mounted"


class Suites:
    """Two crash suites that run beside the tests which wait for their lines."""

    def __init__(self, folder, usual):
        self._options = ["--every", str(EVERY_SEALING_POINT), *usual]
        self.files = [folder / f"part-{part}" for part in range(1, PARTS + 1)]
        self.processes = [self._start(part, file) for part, file in enumerate(self.files, 1)]

    def _start(self, part, file):
        options = ["--part", f"{part}/{PARTS}", *self._options]
        with file.with_suffix(".log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.crash.suite", *options, "--json", file],
                cwd=CHECKOUT,
                env=without_coverage(),
                stdout=log,
                stderr=log,
            )

    def rows(self, file):
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [Row(**json.loads(line)) for line in lines if line.endswith("\n")]

    def row(self, name):
        """The line of a case; None where its suite has ended without it."""
        while True:
            ended = all(process.poll() is not None for process in self.processes)
            found = [row for file in self.files for row in self.rows(file) if row.where == name]
            if found or ended:
                return found[0] if found else None
            time.sleep(0.5)

    @property
    def said(self):
        return "\n".join(file.with_suffix(".log").read_text() for file in self.files)


@pytest.fixture(scope="module")
def suites(request, tmp_path_factory):
    usual = [] if request.config.getoption("full") else ["--usual"]
    running = Suites(tmp_path_factory.mktemp("crashes"), usual)
    yield running
    for process in running.processes:
        stop(process)


@pytest.mark.parametrize("name", some(cases(), USUAL))
def test_nothing_is_lost_or_doubled(suites, name):
    row = suites.row(name)
    assert row is not None, suites.said
    if row.skipped and (MAY_BE_MISSING in row.skipped or not os.environ.get("CI")):
        pytest.skip(row.skipped)
    assert not row.skipped
    assert row.is_good, "\n" + table([row]) + "\n\n" + suites.said
    assert row.times >= 1


def test_the_suite_ends_as_its_table_says(suites):
    for file, process in zip(suites.files, suites.processes, strict=True):
        process.wait()
        assert process.returncode == exit_code(suites.rows(file)), suites.said


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
