"""The names of the annotations that this package gives to experiments, and a reader of them.

Catalogues show them (`ommx.experiment.list_experiments`), and a later seal reads some again. They
are what is stored: a name that changes is not found any more on experiments that were sealed
before.
"""

from __future__ import annotations

from collections.abc import Mapping

from ommx_prefect._format.decode import decode
from ommx_prefect._format.earlier import EARLIER_RUNS
from ommx_prefect._targets.protocol import Target
from ommx_prefect.exceptions import DocumentError

PREFIX = "org.ommx-prefect."

# Read again: whose experiment it is, and which of two flow runs is the later one.
FLOW_RUN_ID = f"{PREFIX}flow-run-id"
SCHEDULED_TIME = f"{PREFIX}scheduled-time"

FLOW_RUN_NAME = f"{PREFIX}flow-run-name"
FLOW_RUN_URL = f"{PREFIX}flow-run-url"
FLOW_NAME = f"{PREFIX}flow-name"
DEPLOYMENT_ID = f"{PREFIX}deployment-id"
DEPLOYMENT_NAME = f"{PREFIX}deployment-name"
STATE = f"{PREFIX}state"
PREFECT_VERSION = f"{PREFIX}prefect-version"
OMMX_VERSION = f"{PREFIX}ommx-version"
PYTHON_VERSION = f"{PREFIX}python-version"
# What the flow is called where nobody knows.
UNKNOWN = "unknown"
# How many warnings there are, and those that say what is lost; absent where there are none.
WARNINGS = f"{PREFIX}warnings"
DEGRADED = f"{PREFIX}degraded"

# What is shown to people: title -> annotation. Of the flow run, of versions, and of what is lost.
FLOW_RUN_FACTS = {
    "flow": FLOW_NAME,
    "deployment": DEPLOYMENT_NAME,
    "flow run": FLOW_RUN_NAME,
    "state": STATE,
    "scheduled": SCHEDULED_TIME,
    "earlier Runs": EARLIER_RUNS,
}
VERSION_FACTS = {"Prefect": PREFECT_VERSION, "OMMX": OMMX_VERSION, "Python": PYTHON_VERSION}
LOSS_FACTS = {"warnings": WARNINGS, "degraded": DEGRADED}


def told_of_flow_run(said: Mapping[str, str]) -> dict[str, str]:
    """Return annotations in which every flow run is called something.

    One that never came to say its name is called by its id, and its flow is unknown. A task run
    outside flows has a name, and no flow.
    """
    flow_run_id = said.get(FLOW_RUN_ID)
    if not flow_run_id or said.get(FLOW_RUN_NAME):
        return dict(said)
    return {FLOW_NAME: UNKNOWN, **said, FLOW_RUN_NAME: flow_run_id}


def read_annotations(target: Target, digest: str) -> Mapping[str, str]:
    """Return the annotations of an experiment; none where it is an image of something else."""
    try:
        return decode(target.read(digest)).annotations
    except DocumentError:
        return {}
