"""What the flow's hook does at the end: seal, and tell people; it never disturbs the flow."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._flowrun.start import open_flow_run
from ommx_prefect._prefect.log import complain, inform, warn
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._recovery.unsealed import waits
from ommx_prefect._sealing.report import report_failure, report_sealed
from ommx_prefect._sealing.seal import seal_flow_run
from ommx_prefect._stages.documents import read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import ImageNameError, SealError, StageError


def seal_in_hook(
    settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]
) -> None:
    """Seal a flow run, in whatever process Prefect calls the hook."""
    Redactor(flow_run.parameters)  # its secrets must not come back in a message of Prefect's
    flow_run_id = str(flow_run.id)
    try:
        record = read_flow_record(stage_of(flow_run_id, default=settings.stage))
        if record is None:
            record = _open_late(settings, flow, flow_run)
        if record is None or record.owner != flow_run_id:
            return  # a subflow: the enclosing flow run seals it
        sealed = seal_flow_run(flow_run_id, state, default=settings.stage)
    except Exception as error:
        if isinstance(error, StageError) and not waits(LocalStage(flow_run_id).path):
            return  # the flow was refused for it: there is nothing to seal
        if not isinstance(error, SealError):  # the registry itself cannot be read
            error = SealError(flow_run_id, describe_error(error))
        complain(str(error))
        report_failure(flow_run, error)
        return
    inform(
        f"Sealed {sum(sealed.counts.values())} Runs as {sealed.image_name} ({sealed.status}, "
        f"{sealed.manifest_digest}). Open it: {sealed.opens_with}"
    )
    try:
        report_sealed(flow_run, sealed)
    except Exception as error:
        warn(f"The experiment is sealed; the UI was not told: {describe_error(error)}")


def _open_late(settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun) -> Any:
    """Name the experiment of a flow run that ended before its body began."""
    if flow_run.parent_task_run_id is not None and settings.experiment is None:
        return None
    try:
        return open_flow_run(settings, flow, flow_run, flow_run.parameters)
    except ImageNameError:  # the flow was refused for it: there is nothing to seal
        return None
