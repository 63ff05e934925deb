"""The names of the run parameters that this package gives to the Run of every attempt.

`docs/reference/stored.md` says what each means.
"""

from __future__ import annotations

TASK = "prefect.task"
TASK_RUN_ID = "prefect.task_run_id"
ATTEMPT = "prefect.attempt"
FLOW_ATTEMPT = "prefect.flow_attempt"
STATE = "prefect.state"
STARTED_AT = "prefect.started_at"
DURATION = "prefect.duration_seconds"
HOST = "prefect.host"
# Only where the Runs of several flow runs are in one experiment.
FLOW_RUN_ID = "prefect.flow_run_id"
