"""Count the earlier flow runs of a series that are not sealed, for the morning page."""

from __future__ import annotations

import contextlib
import time
from itertools import islice

from ommx_prefect._flowrun.process_record import read_flow_process
from ommx_prefect._reporting.night import Night
from ommx_prefect._sealing.lineage import Series
from ommx_prefect._shards.process import whereabouts
from ommx_prefect._stages.documents import STATE_RECORD, path_in, read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.unsealed import unsealed_flow_runs
from ommx_prefect.exceptions import OmmxPrefectError

# Of unsealed flow runs, whatever their series, that are looked at.
MOST_READ = 1000
# Since a flow run ended; before that its hook may be sealing it.
LEAST_AGE_SECONDS = 60.0


def unsealed_before(night: Night) -> int:
    """Return how many earlier flow runs of a night's series ended, or died, and are not sealed."""
    series = Series.of_annotations(night.experiment.annotations, night.sealed.image_name)
    return sum(
        _is_left(flow_run_id, series) for flow_run_id in islice(unsealed_flow_runs(), MOST_READ)
    )


def _is_left(flow_run_id: str, series: Series) -> bool:
    stage = LocalStage(flow_run_id)
    try:
        record = read_flow_record(stage)
        if record is None or record.root_flow_run_id != flow_run_id:
            return False
        return Series.of_record(record).is_before(series) and _is_over(stage)
    except (OmmxPrefectError, OSError):  # nobody can tell of which series it is
        return False


def _is_over(stage: LocalStage) -> bool:
    """Tell whether a flow run has ended, or died on this host, as far as its stage says."""
    with contextlib.suppress(FileNotFoundError):
        ended = path_in(stage.path, STATE_RECORD).stat().st_mtime
        return time.time() - ended > LEAST_AGE_SECONDS
    process = read_flow_process(stage)
    return process is not None and whereabouts(process) == "gone"
