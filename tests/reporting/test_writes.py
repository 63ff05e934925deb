"""What a flow run writes into Prefect beside what Prefect itself does: the same at any size.

With `OMMX_PREFECT_TASK_RUNS=5000` it is that many task runs, and the progress is shown as well.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import Counter

import httpx
import prefect
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner

import ommx_prefect
from ommx_prefect._reporting import events, progress, solve_pages
from ommx_prefect.solvers import solve
from tests.reporting.test_events import events_of
from tests.reporting.test_pages import artifacts_of
from tests.support.counting_proxy import Counting, counting_proxy
from tests.support.models import knapsack

MANY = int(os.environ.get("OMMX_PREFECT_TASK_RUNS", "200"))
# "A few dozen", of a flow run of any size.
MOST_WRITES, MOST_EVENTS = 48, 48


def body(x):
    if x % 2:
        raise ValueError(f"x={x}")
    return x


def played(library, counting: Counting, size: int, solves: int = 0, **options):
    """Run a flow of so many task runs, half of which fail; return what it wrote, and its id."""
    task = library.task(body)

    @library.flow(
        name=f"writes-{uuid.uuid4().hex[:8]}", task_runner=ThreadPoolTaskRunner(8), **options
    )
    def night():
        for seed in range(solves):
            solve("highs", knapsack(), seed=seed)
        task.map(range(size - solves)).wait()
        return "done"

    counting.requests.clear()
    with temporary_settings({PREFECT_API_URL: counting.url}):
        state = night(return_state=True)
    return counting.writes, str(state.state_details.flow_run_id)


def play(counting: Counting, size: int) -> tuple[Counter[str], str]:
    name = f"localhost/w{uuid.uuid4().hex[:8]}"
    return played(ommx_prefect, counting, size, size // 5, experiment=name)


def number_of_events(server: str, flow_run_id: str) -> int:
    """How many events of ours are about a flow run, once they have come."""
    events_of(server, flow_run_id, events.RUN_FAILED, events.MOST_RUN_EVENTS)
    filters = {
        "event": {"prefix": ["ommx-prefect.", "prefect.asset."]},
        "related": {"id": [f"prefect.flow-run.{flow_run_id}"]},
    }
    answer = httpx.post(f"{server}/events/filter", json={"filter": filters, "limit": 50})
    return answer.raise_for_status().json()["total"]


def test_many_task_runs_write_what_fifty_do(server, monkeypatch):
    if MANY <= 200:
        monkeypatch.setattr(progress, "LEAST_SECONDS", 3600.0)  # how long it takes is no matter
        monkeypatch.setattr(solve_pages, "MOST_PAGES", 8)
    with counting_proxy(server) as counting:
        plain, _ = played(prefect, counting, 50)
        few, few_id = play(counting, 50)
        many, many_id = play(counting, MANY)
    ours = {kind: number for kind, number in many.items() if kind not in plain}
    print(f"\n{MANY} task runs: ours {ours}, with Prefect's {dict(many)}")
    # A busy server is asked again, so what it keeps says how much there was of a kind.
    assert set(ours) <= {"POST /api/artifacts/", "PATCH /api/artifacts/ID"}
    assert sum(ours.values()) <= MOST_WRITES
    assert number_of_events(server, many_id) <= MOST_EVENTS
    if MANY <= 200:
        assert set(few) == set(many)
        assert len(artifacts_of(few_id)) == len(artifacts_of(many_id)) == 2 + 8
        assert number_of_events(server, few_id) == number_of_events(server, many_id)


def test_progress_is_one_artifact_that_one_thread_writes_and_not_often(server, monkeypatch):
    assert progress.LEAST_SECONDS == 5.0
    monkeypatch.setattr(progress, "LEAST_SECONDS", least := 0.5)
    writers, write = set(), progress._Progress._write

    def noted(self, **how):
        writers.add(threading.current_thread().name)
        write(self, **how)

    monkeypatch.setattr(progress._Progress, "_write", noted)

    @ommx_prefect.task
    def pause():
        time.sleep(0.1)

    @ommx_prefect.flow(name=f"shown-{uuid.uuid4().hex[:8]}")
    def night():
        for _ in range(40):
            pause()

    with counting_proxy(server) as counting:
        began = time.monotonic()
        with temporary_settings({PREFECT_API_URL: counting.url}):
            state = night(return_state=True)
        took = time.monotonic() - began
    assert writers == {"ommx-prefect-progress"}
    found = artifacts_of(str(state.state_details.flow_run_id))
    (shown,) = [x for x in found if x.type == "progress"]
    assert (shown.key, float(shown.data)) == (f"ommx-{night.name}-progress", 100.0)
    # The first, which makes it, and the last, beside one in each of the pauses.
    assert 2 <= 1 + counting.writes["PATCH /api/artifacts/ID"] <= took / least + 2
