"""Recognize the leftovers of a flow run on a worker's host: checkpoints without records.

It is what the attempts of that host had checkpointed, with its payload: a retry there may start
from it. The flow run is sealed elsewhere, so no seal lets go of it here.
"""

from __future__ import annotations

from pathlib import Path

from ommx_prefect._registry.layout import BLOBS
from ommx_prefect._stages.documents import CHECKPOINTS, LOCK, OUTBOX_RECORD
from ommx_prefect._stages.unsealed import RECORDS, has_unsealed

# A record among them is empty, or it would be unsealed: the power failed before it was flushed.
LEFT = frozenset({CHECKPOINTS, BLOBS, OUTBOX_RECORD, LOCK, *RECORDS})


def is_left_over(folder: Path) -> bool:
    """Tell whether the folder of a flow run holds nothing else."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    return bool(files) and all(x.parts[0] in LEFT for x in files) and not has_unsealed(folder)
