"""Seal a flow run from its state hook, and report what came of it; no failure reaches the flow."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from ommx_prefect._flowrun.process_record import is_fork_of_flow_process
from ommx_prefect._flowrun.registry import stage_wanted
from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._flowrun.start import open_flow_run
from ommx_prefect._prefect.log import complain, inform, warn
from ommx_prefect._reporting.night import facts_of
from ommx_prefect._reporting.publish import report_sealed, report_unsealed
from ommx_prefect._sealing.flow_run import find_flow_run
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.seal import seal_found
from ommx_prefect._shards import unwritten
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.unsealed import has_unsealed
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import ImageNameError, SealError, StageError


def seal_in_hook(
    settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]
) -> None:
    """Seal a flow run in whatever process Prefect runs its hook.

    In a child that the flow forked, and that ends as the flow does, there is nothing to seal.
    """
    if is_fork_of_flow_process(str(flow_run.id)):
        return
    Redactor(flow_run.parameters)  # its secrets must not come back in a message of Prefect's
    try:
        sealed = _seal(settings, flow, flow_run, state)
    except Exception as error:
        if isinstance(error, StageError) and not has_unsealed(LocalStage(str(flow_run.id)).path):
            return  # the flow was refused for it: there is nothing to seal
        _report_failure(flow, flow_run, error)
    else:
        if sealed is not None:
            _report_sealed(flow, flow_run, sealed)


def _seal(
    settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]
) -> SealedExperiment | None:
    """Seal a flow run, unless it is a part of another one or was refused."""
    flow_run_id = str(flow_run.id)
    stage, record = find_flow_run(flow_run_id, default=_default_stage(settings))
    if record is None:
        record = _open_late(settings, flow, flow_run)
    if record is None or record.root_flow_run_id != flow_run_id:
        return None
    return seal_found(stage, record, state).sealed


def _default_stage(settings: ExperimentSettings) -> str | None:
    try:
        return stage_wanted(settings)
    except ImageNameError:  # the block is gone: the record of the flow run tells, if it has one
        return settings.stage


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


def _report_failure(flow: Flow[Any, Any], flow_run: FlowRun, error: Exception) -> None:
    if not isinstance(error, SealError):  # the registry itself cannot be read
        error = SealError(str(flow_run.id), describe_error(error))
    if count := len(unwritten.of(str(flow_run.id))):
        unsaid = f"{count} of its records could not be written: they are lost with this process"
        error = SealError(error.flow_run_id, f"{error.reason}; {unsaid}, unless it seals them")
    complain(str(error))
    report_unsealed(facts_of(flow_run, flow.name), error)


def _report_sealed(flow: Flow[Any, Any], flow_run: FlowRun, sealed: SealedExperiment) -> None:
    inform(
        f"Sealed {sum(sealed.counts.values())} Runs as {sealed.image_name} ({sealed.status}, "
        f"{sealed.manifest_digest}). Open it: {sealed.opens_with}"
    )
    for warning in sealed.warnings:
        warn(warning)
    report_sealed(facts_of(flow_run, flow.name), sealed)
