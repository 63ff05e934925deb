"""What the flow's hook does at the end: seal, and tell people; it never disturbs the flow."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._flowrun.start import open_flow_run
from ommx_prefect._prefect.log import logger
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._recovery.unsealed import has_unsealed
from ommx_prefect._sealing.flow_run import find_flow_run
from ommx_prefect._sealing.report import report_failure, report_sealed
from ommx_prefect._sealing.seal import seal_found
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import ImageNameError, SealError, StageError


def seal_in_hook(
    settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]
) -> None:
    """Seal a flow run in whatever process Prefect runs its settings."""
    Redactor(flow_run.parameters)  # its secrets must not come back in a message of Prefect's
    flow_run_id = str(flow_run.id)
    try:
        stage, record = find_flow_run(flow_run_id, default=settings.stage)
        if record is None:
            record = _open_late(settings, flow, flow_run)
        if record is None or record.owner != flow_run_id:
            return  # a subflow: the enclosing flow run seals it
        sealed = seal_found(stage, record, state).sealed
    except Exception as error:
        if isinstance(error, StageError) and not has_unsealed(LocalStage(flow_run_id).path):
            return  # the flow was refused for it: there is nothing to seal
        if not isinstance(error, SealError):  # the registry itself cannot be read
            error = SealError(flow_run_id, describe_error(error))
        logger().error("%s", error)
        report_failure(flow_run, error)
        return
    runs = sum(sealed.counts.values())
    logger().info(
        "Sealed %d Runs as %s (%s, %s)",
        runs,
        sealed.image_name,
        sealed.status,
        sealed.manifest_digest,
    )
    try:
        report_sealed(flow_run, sealed)
    except Exception as error:
        logger().warning("The experiment is sealed; the UI was not told: %s", describe_error(error))


def _open_late(
    settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun
) -> FlowRecord | None:
    """Name the experiment of a flow run that ended before its body began."""
    if flow_run.parent_task_run_id is not None and settings.experiment is None:
        return None
    try:
        return open_flow_run(settings, flow, flow_run, flow_run.parameters)
    except ImageNameError:  # the flow was refused for it: there is nothing to seal
        return None
