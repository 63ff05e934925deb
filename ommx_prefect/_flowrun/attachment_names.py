"""Remember which attachment names the flow runs of this process have used on their experiments.

A flow run that is retried or resumed logs them again; the seal then keeps the latest under the
name, and the earlier ones beside it. It does so, too, where a name was forgotten here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from ommx_prefect._memory.forks import process_lock
from ommx_prefect.exceptions import DuplicateAttachmentError

# Of flow runs whose experiment is not finished: those that fail are retried, or never heard of.
MOST_FLOW_RUNS = 1_000

# Root flow run -> flow run, its run count, and name.
_names: dict[str, set[tuple[str, int, str]]] = {}
_lock = process_lock()


@contextlib.contextmanager
def claimed_names(
    root_flow_run_id: str, flow_run_id: str, flow_attempt: int, names: Collection[str]
) -> Iterator[None]:
    """Reserve names for what the block makes durable; if it fails, they are free again.

    Raises:
        DuplicateAttachmentError: The flow run has one of them already.
    """
    keys = {(flow_run_id, flow_attempt, name) for name in names}
    with _lock:
        taken = _names.setdefault(root_flow_run_id, set())
        for *_, name in sorted(keys & taken):
            raise DuplicateAttachmentError(str(name))
        taken.update(keys)
        while len(_names) > MOST_FLOW_RUNS:
            del _names[next(iter(_names))]
    try:
        yield
    except BaseException:
        with _lock:
            taken.difference_update(keys)
        raise


def forget_names(root_flow_run_id: str) -> None:
    """Let go of the names of a flow run whose experiment is finished."""
    with _lock:
        _names.pop(root_flow_run_id, None)
