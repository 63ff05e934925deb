"""Which process runs a flow run, and whether it still does.

A flow run can be run by several processes, one after the other (a retry from the UI, a resume),
so this is no part of the flow record: each start writes `process.json` of the stage anew.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from ommx_prefect._origin import host_name, own_start, process_start
from ommx_prefect._stage_protocol import Stage, well_formed

PROCESS_RECORD = "process.json"

Whereabouts = Literal["alive", "gone", "elsewhere"]


class Process(Protocol):
    """What tells a process from all others; attempts carry it too."""

    @property
    def host(self) -> str:
        """Name of the machine."""

    @property
    def pid(self) -> int:
        """Process id on it."""

    @property
    def process_start(self) -> str:
        """When the process started, as the system tells it; empty where it does not."""


@dataclass(frozen=True)
class FlowProcess:
    """The process that started a flow run last."""

    host: str
    pid: int
    process_start: str


def note_flow_process(stage: Stage) -> None:
    """Note that this process runs the flow run now."""
    process = FlowProcess(host_name(), os.getpid(), own_start(os.getpid()))
    stage.write(PROCESS_RECORD, asdict(process))


def read_flow_process(stage: Stage) -> FlowProcess | None:
    """Return who runs the flow run, or None where no release that notes it started it."""
    document = stage.read(PROCESS_RECORD)
    if document is None:
        return None
    with well_formed(stage, PROCESS_RECORD):
        return FlowProcess(**document)


def whereabouts(process: Process) -> Whereabouts:
    """Tell whether a process lives on this machine, is gone from it, or belongs to another."""
    if process.host != host_name():
        return "elsewhere"
    if process.process_start != process_start(process.pid):
        return "gone"
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        return "alive"
    return "alive"
