"""Flow runs with many Runs, staged without Prefect, and sealed in parts of a few of them."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import replace

from ommx_prefect._decorators.flow_experiment import FlowExperiment
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._recording.recording import Recording
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.documents import FLOW_RECORD, STATE_RECORD, End, write_document
from ommx_prefect._stages.resolve import stage_of, tell_stage
from ommx_prefect.testing._scene import flow_record

# Of a manifest: some ten Runs with an output of their own.
FEW_BYTES = 2_500
RUNS = 30


def staged_night(name: str, runs: int = RUNS, stage: str = "local") -> str:
    """Leave the records of a flow run that is to have this image name; return its id."""
    flow_run_id = str(uuid.uuid4())
    tell_stage(flow_run_id, stage)
    record = replace(
        flow_record(flow_run_id), image_name=name, aliases=(), chosen=True, stage=stage
    )
    write_document(stage_of(flow_run_id), FLOW_RECORD, record)
    FlowExperiment(flow_run_id, flow_run_id, 1).log_json("note", "of the flow")
    for number in range(runs):
        record_run(flow_run_id, number)
    return flow_run_id


def record_run(flow_run_id: str, number: int, started_at: float | None = None) -> None:
    """Leave the record of one attempt outside flows, of which a seal asks Prefect nothing."""
    attempt = Attempt(
        flow_run_id, "", 0, str(uuid.uuid4()), "solve", f"solve-{number}", 1, f"{number:012x}",
        started_at or time.time(), "here", os.getpid(),
    )  # fmt: skip
    claims = {"instance": f"i{number:03}", "adapter": "highs", "outcome": "optimal"}
    claims |= {"objective": float(number), "number": number}
    with Recording(attempt, RecordingOptions(), claims) as recording, recording.active():
        recording.returned({"value": number})


def sealed_night(flow_run_id: str, status: str = "finished") -> SealedExperiment:
    """Seal a flow run, as Prefect would say it ended."""
    end = End(status, "Test", None if status == "finished" else "it was told so")
    write_document(stage_of(flow_run_id), STATE_RECORD, end)
    return seal_flow_run(flow_run_id, end=end)
