"""Record which process executes a flow run, and tell whether that process is still alive.

A flow run can be run by several processes, one after the other (a retry from the UI, a resume),
so this is no part of the flow record: each start writes `process.json` of the stage anew.
"""

from __future__ import annotations

import os

from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._shards.process import host_name, own_start
from ommx_prefect._stages.documents import (
    PROCESS_RECORD,
    FlowProcess,
    read_document,
    write_document,
)
from ommx_prefect._stages.protocol import Stage

# The flow runs that were started in this process or, before a fork, in its parent.
MOST_STARTED = 1_000
_started_in: Bounded[str, int] = Bounded(MOST_STARTED)


def note_flow_process(stage: Stage) -> None:
    """Write down that this process runs the flow run now."""
    _started_in[stage.flow_run_id] = os.getpid()
    process = FlowProcess(host_name(), os.getpid(), own_start(os.getpid()))
    write_document(stage, PROCESS_RECORD, process)


def is_fork_of_flow_process(flow_run_id: str) -> bool:
    """Tell whether this process was forked from the one that runs a flow run, and so is not it."""
    return _started_in.get(flow_run_id) not in (None, os.getpid())


def read_flow_process(stage: Stage) -> FlowProcess | None:
    """Return the process of a flow run, or None where the release that started it noted none."""
    return read_document(stage, PROCESS_RECORD, FlowProcess)
