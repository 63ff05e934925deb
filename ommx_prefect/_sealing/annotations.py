"""Make the annotations of an experiment, which catalogues show."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from prefect.utilities.urls import url_for

from ommx_prefect._format.earlier import EARLIER_RUNS, EARLIER_SOLVES
from ommx_prefect._sealing.earlier import Earlier
from ommx_prefect._sealing.load import SealInputs
from ommx_prefect._targets import annotations as names

# Of all degradations together, in characters.
LONGEST_DEGRADED = 1000


def annotations_of(inputs: SealInputs, warnings: Sequence[str], earlier: Earlier) -> dict[str, str]:
    """Return the annotations of an experiment; those without a value are left out."""
    record = inputs.record
    found = {
        names.FLOW_RUN_ID: record.flow_run_id,
        names.FLOW_RUN_NAME: record.flow_run,
        names.FLOW_NAME: record.flow,
        names.FLOW_RUN_URL: url_for("flow-run", record.flow_run_id) or "",
        names.DEPLOYMENT_ID: record.deployment_id,
        names.DEPLOYMENT_NAME: inputs.deployment_name,
        names.SCHEDULED_TIME: record.scheduled_time,
        names.STATE: inputs.end.state,
        names.PREFECT_VERSION: importlib.metadata.version("prefect"),
        names.OMMX_VERSION: importlib.metadata.version("ommx"),
        names.PYTHON_VERSION: platform.python_version(),
        names.WARNINGS: str(len(warnings)) if warnings else "",
        names.DEGRADED: "; ".join(x for x in warnings if "degraded" in x)[:LONGEST_DEGRADED],
        EARLIER_RUNS: str(len(earlier.entries) or ""),
        EARLIER_SOLVES: str(earlier.solves or ""),
    }
    return {key: value for key, value in found.items() if value}
