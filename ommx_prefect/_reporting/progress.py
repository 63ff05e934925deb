"""Show the progress of a running flow as a Prefect progress artifact, updated by one thread.

Nothing here is called by a task. The thread counts what the process has submitted, begun and seen
end, which costs no request, and writes at most once in `LEAST_SECONDS`, and only where the share
has changed; a flow run that ends before the first write leaves no artifact.
"""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import FlowRun

from ommx_prefect._flowrun.pending import ended_of_known
from ommx_prefect._memory.forks import process_lock
from ommx_prefect._prefect.api import api_client
from ommx_prefect._prefect.log import logger
from ommx_prefect._reporting.keys import page_key
from ommx_prefect._reporting.night import facts_of

LEAST_SECONDS = 5.0
# Percent that have to be gained for another write, and the writes after which each wait is doubled.
LEAST_CHANGE = 2.0
WRITES_BEFORE_SLOWER = 12
MOST_SECONDS = 300.0
LAST_WRITE_SECONDS = 5.0

_running: dict[str, _Progress] = {}
_lock = process_lock()


@dataclass
class _Progress:
    """The progress artifact of one flow run, and the thread that writes it."""

    flow: Flow[Any, Any]
    flow_run: FlowRun
    is_over: threading.Event = field(default_factory=threading.Event)
    artifact_id: UUID | None = None
    percent: float = -100.0
    writes: int = 0
    thread: threading.Thread | None = None

    def run(self) -> None:
        """Write until the flow run is over, and once more at its end if anything was shown."""
        pause = LEAST_SECONDS
        try:
            while not self.is_over.wait(pause):
                self._write()
                slower = self.writes // WRITES_BEFORE_SLOWER
                pause = min(LEAST_SECONDS * 2**slower, MOST_SECONDS)
            if self.artifact_id is not None:
                self._write(is_last=True)
        except Exception as error:  # nobody misses it: the page comes at the end
            logger().debug("The progress is shown no more: %s", error)

    def _write(self, *, is_last: bool = False) -> None:
        ended, known = ended_of_known(str(self.flow_run.id))
        if not known and not is_last:
            return
        percent = 100.0 if is_last else round(100.0 * ended / known, 1)
        if abs(percent - self.percent) < LEAST_CHANGE and not is_last:
            return
        said = "ended" if is_last else f"{ended} of {known} task runs have ended"
        self.percent = percent
        self.writes += 1
        with api_client() as client:
            if self.artifact_id is None:
                made = client.create_artifact(self._created(percent, said))
                self.artifact_id = made.id
            else:
                changed = ArtifactUpdate(data=percent, description=said)
                client.update_artifact(self.artifact_id, changed)

    def _created(self, percent: float, said: str) -> ArtifactCreate:
        return ArtifactCreate(
            key=f"{page_key(facts_of(self.flow_run, self.flow.name))}-progress",
            type="progress",
            data=percent,
            description=said,
            flow_run_id=self.flow_run.id,
        )


def begin_progress(flow: Flow[Any, Any], flow_run: FlowRun) -> None:
    """Show the progress of a flow run from now on, unless this process does already."""
    with _lock:
        if str(flow_run.id) in _running:
            return
        progress = _running[str(flow_run.id)] = _Progress(flow, flow_run)
    # Prefect's settings and profile are those of the flow's context.
    run = contextvars.copy_context().run
    name = "ommx-prefect-progress"
    progress.thread = threading.Thread(target=run, args=(progress.run,), name=name, daemon=True)
    progress.thread.start()


def end_progress(flow_run_id: str) -> None:
    """End the progress of a flow run, and wait (bounded) until the thread has written that."""
    with _lock:
        progress = _running.pop(flow_run_id, None)
    if progress is not None:
        progress.is_over.set()
        if progress.thread is not None:
            progress.thread.join(LAST_WRITE_SECONDS)
