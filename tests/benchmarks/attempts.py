"""Attempts that the benchmarks record by hand: of task runs outside flows.

Of those a seal asks Prefect nothing, so that what is measured is ours alone, and no server starts.
"""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

import tests.benchmarks.quiet  # noqa: F401 (first: it sets what Prefect and OMMX read)

# isort: split
from ommx_prefect._prefect.states import Outcome
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal_task_run
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.resolve import tell_stage

_numbers = itertools.count()


def new_flow_run_id() -> str:
    """Return an id under which attempts are recorded in the Local Registry."""
    flow_run_id = str(uuid.uuid4())
    tell_stage(flow_run_id, "local")
    return flow_run_id


def attempt_of(flow_run_id: str) -> Attempt:
    """Return a new attempt of a task."""
    number = next(_numbers)
    return Attempt(
        root_flow_run_id=flow_run_id,
        flow_run_id="",
        flow_attempt=0,
        task_run_id=str(uuid.uuid4()),
        task="solve",
        task_run=f"solve-{number}",
        attempt=1,
        nonce=f"{number:012x}",
        started_at=time.time(),
        host="here",
        pid=os.getpid(),
    )


def record(flow_run_id: str, output: Any, arguments: Mapping[str, Any] | None = None) -> Attempt:
    """Record one attempt that returns a value."""
    attempt = attempt_of(flow_run_id)
    with Recording(attempt, RecordingOptions(), arguments or {}) as recording, recording.active():
        recording.returned(output)
    return attempt


def record_small(flow_run_id: str, attempts: int) -> Attempt:
    """Record attempts, each with an output of its own: a small dict; return the last."""
    for number in range(attempts):
        last = record(flow_run_id, {"value": number, "gap": 0.25}, {"i": number})
    return last


def seal(last: Attempt) -> SealedExperiment:
    """Seal what was recorded with an attempt."""
    return seal_task_run(last, Outcome("finished", "Completed"))
