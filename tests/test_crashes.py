"""The crash suite in CI: each case once, some points of sealing; and proof that it can fail."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import pytest
from crash_deaths import settle
from crash_judge import Found, Row
from crash_scene import FLOWS, HERE, count, flow_of, python, until
from crash_suite import cases, exit_code, table

from ommx_prefect._shards import Shard
from ommx_prefect._stage import LocalStage

SUITE = HERE / "crash_suite.py"
# Cases mostly wait, so two suites run beside each other, each with a server of its own.
PARTS = 2
EVERY_SEALING_POINT = 90
SUITE_SECONDS = 600
# What only some machines can do at all; whatever else is missing is an error in CI.
MAY_BE_MISSING = "cannot be mounted"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The lines of the table by case."""
    folder = tmp_path_factory.mktemp("crashes")
    files = [folder / f"part-{part}.json" for part in range(1, PARTS + 1)]
    running = [_start(part, file) for part, file in enumerate(files, start=1)]
    said = [process.communicate(timeout=SUITE_SECONDS)[0] for process in running]
    assert all(file.exists() for file in files), "\n".join(said)
    found = [Row(**row) for file in files for row in json.loads(file.read_text())]
    for file, process in zip(files, running, strict=True):
        own = [Row(**row) for row in json.loads(file.read_text())]
        assert process.returncode == exit_code(own)
    return {row.where: row for row in found}


def _start(part, file):
    options = ["--part", f"{part}/{PARTS}", "--every", str(EVERY_SEALING_POINT), "--json", file]
    # A registry, a home and a server of its own are the suite's; CI's are not for it.
    env = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    return subprocess.Popen(
        [sys.executable, SUITE, *options],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.timeout(SUITE_SECONDS + 60)
@pytest.mark.parametrize("name", cases())
def test_nothing_is_lost_or_doubled(rows, name):
    row = rows[name]
    if row.skipped and (MAY_BE_MISSING in row.skipped or not os.environ.get("CI")):
        pytest.skip(row.skipped)
    assert not row.skipped
    assert row.is_good, "\n" + table(list(rows.values()))
    assert row.times >= 1


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
