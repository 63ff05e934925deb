"""Remember which flow runs of this process were interrupted while their tasks still run in threads.

Prefect interrupts the flow's thread alone, and then waits for the tasks that were submitted: they
do not learn of it. What a task can stop, such as a solver, looks here. A flow run is noted under
its own id: that a subflow timed out is no concern of the flow around it, which goes on.

The tasks of a process pool, and of Dask workers on this host, run in other processes, which learn
of it by a file in this user's temporary folder: `interrupted/<flow run>-<its run count>`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from prefect.exceptions import PrefectSignal

from ommx_prefect._flowrun.host_folder import host_folder
from ommx_prefect._memory.bounded import Bounded
from ommx_prefect._registry.files import read_regular, write_whole
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError

# Of a process that is interrupted again and again, which forgets the oldest.
MOST_FLOW_RUNS = 1_000
OLD_SECONDS = 7 * 24 * 3600
# With these a body ends, and its tasks go on: errors, a consumer that had enough, and what Prefect
# raises in it for a pause.
NO_INTERRUPTION = (Exception, GeneratorExit, PrefectSignal)

_reasons: Bounded[str, str] = Bounded(MOST_FLOW_RUNS)
# The recorded flow runs whose bodies run around this; Prefect hands it on to threads of tasks.
_around: ContextVar[tuple[str, ...]] = ContextVar("ommx_prefect_flow_runs", default=())


@contextlib.contextmanager
def interruption_noted(flow_run_id: str, flow_attempt: int = 0) -> Iterator[None]:
    """Note an interruption of the body of a flow run, which runs in the block.

    Args:
        flow_run_id: The flow run.
        flow_attempt: Its run count.
    """
    _reasons.forget(flow_run_id)  # of an earlier attempt
    token = _around.set((*_around.get(), flow_run_id))
    try:
        yield
    except BaseException as error:
        if not isinstance(error, NO_INTERRUPTION):
            _note(flow_run_id, flow_attempt, error)
        raise
    finally:
        with contextlib.suppress(ValueError):  # a generator flow may end in another context
            _around.reset(token)


def interruption_here(*flow_run_ids: str) -> str | None:
    """Return why a flow run, or one around it, was interrupted in this process, or None."""
    found = (_reasons.get(x) for x in (*flow_run_ids, *_around.get()))
    return next((reason for reason in found if reason is not None), None)


def interruption_elsewhere(flow_run_id: str, flow_attempt: int) -> str | None:
    """Return why a flow run of another process on this host was interrupted, or None."""
    try:
        return read_regular(_file(flow_run_id, flow_attempt)).decode(errors="replace")
    except (OSError, DocumentError):
        return None


def _note(flow_run_id: str, flow_attempt: int, error: BaseException) -> None:
    reason = f"the flow run was interrupted ({describe_error(error)})"
    _reasons[flow_run_id] = reason
    with contextlib.suppress(OSError):
        file = _file(flow_run_id, flow_attempt)
        _tidy(file.parent)
        write_whole(file, reason.encode())


def _file(flow_run_id: str, flow_attempt: int) -> Path:
    return host_folder("interrupted") / f"{flow_run_id}-{flow_attempt}"


def _tidy(folder: Path) -> None:
    """Remove what was noted long ago."""
    long_ago = time.time() - OLD_SECONDS
    for file in folder.iterdir():
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < long_ago:
                file.unlink()
