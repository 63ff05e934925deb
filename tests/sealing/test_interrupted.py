"""What is said of an attempt that began and left no shard, by what came after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ommx_prefect._prefect.api import TaskRunRow
from ommx_prefect._sealing.interrupted import followers, interrupted_shard
from ommx_prefect._shards.shard import Attempt

FIRST = Attempt(
    "root", "flow", 1, "id", "solve", "solve-0", 1, "a", 1.0, "host", 7, process_start="70"
)
RETRY = replace(FIRST, attempt=2, nonce="b", started_at=2.0)
AGAIN = replace(FIRST, nonce="c", started_at=3.0, pid=8)
AGAIN_RETRIED = replace(AGAIN, attempt=2, nonce="d", started_at=4.0)
COMPLETED = TaskRunRow("id", "flow", "solve-0", "Completed", "finished", True, False)
CRASHED = replace(COMPLETED, state="Crashed", status="interrupted")
PENDING = replace(COMPLETED, state="Pending", status=None, is_final=False)


@pytest.mark.parametrize(
    ("follower", "row", "status", "state", "told"),
    [
        (None, None, "interrupted", "Running", "Prefect's last state is Running"),
        (None, PENDING, "interrupted", "Running", "Prefect's last state is Running"),
        (None, CRASHED, "interrupted", "Crashed", "Prefect's last state is Crashed"),
        (None, COMPLETED, "finished", "Completed", "Prefect's state is Completed"),
        (RETRY, COMPLETED, "failed", "Failed", "it was retried"),
        (AGAIN, COMPLETED, "interrupted", "Superseded", "it was executed again"),
        (AGAIN_RETRIED, COMPLETED, "interrupted", "Superseded", "it was executed again"),
    ],
)
def test_what_came_after_tells_how_an_attempt_without_a_shard_ended(
    follower, row, status, state, told
):
    shard = interrupted_shard(FIRST, follower, row, None)
    assert (shard.status, shard.parameters["prefect.state"]) == (status, state)
    assert shard.reason is not None
    assert shard.reason.endswith(told)
    assert bool(shard.notes) == (status != "interrupted")


def test_the_follower_is_the_next_attempt_of_the_same_task_run():
    other = replace(FIRST, task_run_id="other", started_at=1.5)
    no_task = [replace(FIRST, task_run_id="", nonce=x) for x in "xy"]
    found = followers([AGAIN, RETRY, *no_task, FIRST, other])
    assert found == {FIRST.key: RETRY, RETRY.key: AGAIN}
