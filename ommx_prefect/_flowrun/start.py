"""Start recording a flow run: choose its experiment, image name and stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.callables import get_parameter_defaults

from ommx_prefect._flowrun.image_name import (
    OFFICIAL,
    NameSource,
    NamingFacts,
    anonymous_tag,
    place_in_docker_hub,
    resolve,
)
from ommx_prefect._flowrun.pending import expect_task_runs
from ommx_prefect._flowrun.process_record import note_flow_process
from ommx_prefect._flowrun.registry import stage_wanted, with_registry
from ommx_prefect._flowrun.secrets import remember_root, secrets_around
from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._oci.image_name import suffix_of, with_suffix, with_tag
from ommx_prefect._oci.names import split_name
from ommx_prefect._prefect.api import find_night
from ommx_prefect._prefect.log import warn
from ommx_prefect._registry.names import anonymous_name, canonical_name, find
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    STATE_RECORD,
    SUBFLOWS,
    FlowRecord,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._targets.choose import targets_for
from ommx_prefect._values.parameters import keywords_of, scalars
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import (
    ImageNameError,
    ImageNameTakenError,
    InvalidImageNameError,
    StageError,
)


def open_flow_run(
    settings: ExperimentSettings,
    flow: Flow[Any, Any],
    flow_run: FlowRun,
    parameters: Mapping[str, Any],
    enclosing_root_id: str | None = None,
) -> FlowRecord:
    """Name a flow run's experiment, check the name, and write its record; once per flow run.

    Args:
        settings: What the flow wants of its experiment.
        flow: The flow.
        flow_run: Its run that starts.
        parameters: The run's parameters.
        enclosing_root_id: Id of the root flow run of a subflow.

    Raises:
        InvalidImageNameError: The name does not parse.
        ImageNameTakenError: It stands in the Local Registry already, and replace is False.
        StageError: The stage cannot be listed or written.
    """
    flow_run_id = str(flow_run.id)
    # A subflow without a name of its own is part of the enclosing experiment. Its record concerns
    # this host alone; its shards are those of the root flow run.
    root_flow_run_id = (enclosing_root_id or "") if settings.experiment is None else ""
    if root_flow_run_id:
        stage: Stage = LocalStage(flow_run_id)
    else:
        stage = stage_of(flow_run_id, default=stage_wanted(settings))
    _note_start(flow_run_id, stage)
    record = read_flow_record(stage)
    if record is None:
        facts = naming_facts(flow, flow_run, parameters)
        if root_flow_run_id:
            record = _record_of_part(facts, root_flow_run_id)
        else:
            record = _named_record(with_registry(settings), facts, flow_run, stage)
        write_document(stage, FLOW_RECORD, record)
        if enclosing_root_id:
            write_document(stage_of(enclosing_root_id), f"{SUBFLOWS}/{flow_run_id}", record)
    return record


def _note_start(flow_run_id: str, stage: Stage) -> None:
    expect_task_runs(flow_run_id)  # needs no disk: what a full one loses is missed all the same
    stage.remove(STATE_RECORD)
    note_flow_process(LocalStage(flow_run_id))


def open_in_hook(settings: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun) -> None:
    """Open a flow run from its on_running hook, which cannot refuse it."""
    remember_root(str(flow_run.id), flow_run.parameters)
    try:
        open_flow_run(settings, flow, flow_run, flow_run.parameters)
    except StageError as error:
        warn(f"{error}. This flow run goes on, and its shards wait in the Local Registry.")
        open_in_hook(replace(settings, stage=LOCAL), flow, flow_run)
    except ImageNameError as error:
        warn(f"{error} This flow run goes on, and its experiment gets an anonymous name.")
        anonymous = ExperimentSettings(stage=settings.stage, registry="")
        open_flow_run(anonymous, flow, flow_run, flow_run.parameters)


def naming_facts(
    flow: Flow[Any, Any], flow_run: FlowRun, parameters: Mapping[str, Any]
) -> NamingFacts:
    """Collect what names are made of; a deployment's runs know only the parameters it sets."""
    now = datetime.now(timezone.utc)
    parameters = {**get_parameter_defaults(flow.fn), **parameters}
    if (keywords := keywords_of(flow.fn)) is not None:  # each of them is a parameter
        parameters = {**(parameters.pop(keywords, None) or {}), **parameters}
    return NamingFacts(
        flow_run_id=str(flow_run.id),
        flow_run_name=_redactor(parameters).text(flow_run.name),
        flow_name=flow.name,
        scheduled_time=flow_run.expected_start_time or flow_run.start_time or now,
        start_time=flow_run.start_time or now,
        parameters=parameters,
    )


def _redactor(parameters: Mapping[str, Any]) -> Redactor:
    """Return the redactor for the secrets of a flow run, and of those around it."""
    redact = Redactor(parameters)
    redact.add(secrets_around())
    return redact


def record_of(
    facts: NamingFacts,
    settings: ExperimentSettings,
    image_name: str,
    *,
    chosen: bool,
    deployment: str,
) -> FlowRecord:
    """Return the record of a flow run, as the seal needs it."""
    redact = _redactor(facts.parameters)
    found = scalars(facts.parameters, True)
    return FlowRecord(
        root_flow_run_id=facts.flow_run_id,
        image_name=image_name,
        replace=settings.replace,
        aliases=settings.aliases,
        chosen=chosen,
        flow_run_id=facts.flow_run_id,
        flow_run=facts.flow_run_name,
        flow=facts.flow_name,
        deployment_id=deployment,
        scheduled_time=facts.scheduled_time.isoformat(),
        parameters={k: redact.scalar(v) for k, v in found if not isinstance(v, Exception)},
        push=bool(settings.push),
        registry=settings.registry or "",
        lineage=settings.lineage or "",
    )


def _record_of_part(facts: NamingFacts, root_flow_run_id: str) -> FlowRecord:
    """Return the record of a subflow that is part of another flow run's experiment."""
    record = record_of(facts, ExperimentSettings(), "", chosen=False, deployment="")
    return replace(record, root_flow_run_id=root_flow_run_id, stage=stage_of(root_flow_run_id).name)


def _named_record(
    settings: ExperimentSettings, facts: NamingFacts, flow_run: FlowRun, stage: Stage
) -> FlowRecord:
    """Return the record of a flow run whose experiment is its own, under a name that is free."""
    shown = flow_run.model_copy(update={"name": facts.flow_run_name})
    name, chosen = _wanted_name(settings, facts, shown)
    is_free = settings.replace or settings.experiment is None  # an anonymous name is unique
    taken_in = "" if is_free else _where_taken(stage, name)
    if taken_in and chosen:
        raise ImageNameTakenError(name, taken_in)
    if taken_in:
        name = with_suffix(name, suffix_of(facts.flow_run_id))
    deployment = str(flow_run.deployment_id or "")
    record = record_of(facts, settings, name, chosen=chosen, deployment=deployment)
    scheduled = _scheduled_with(flow_run) or facts.scheduled_time
    return replace(record, stage=stage.name, scheduled_time=scheduled.isoformat())


def _scheduled_with(flow_run: FlowRun) -> datetime | None:
    """Return when the flow run around a subflow was scheduled: of each of its attempts the same."""
    is_subflow = flow_run.parent_task_run_id is not None
    return find_night(flow_run).expected_start_time if is_subflow else None


def _wanted_name(
    settings: ExperimentSettings, facts: NamingFacts, flow_run: FlowRun
) -> tuple[str, bool]:
    """Return the name that a flow asks for, and whether its author chose the tag too."""
    template = _called(settings.experiment, flow_run)
    if template is None:
        return anonymous_name(anonymous_tag(facts)), False
    given, chosen = resolve(template, facts)
    name = canonical_name(given)
    _check_registry(given, name, bool(settings.push))
    for alias in settings.aliases:
        canonical_name(with_tag(name, alias))
    return name, chosen


def _called(source: NameSource, flow_run: FlowRun) -> str | None:
    if not callable(source):
        return source
    try:
        name = source(flow_run)
    except Exception as error:
        raise InvalidImageNameError(repr(source), f"calling it raised {error!r}") from error
    if not isinstance(name, str):
        raise InvalidImageNameError(repr(source), f"it returned {name!r}")
    return name


def _check_registry(given: str, name: str, push: bool) -> None:
    """Warn of a name without a registry; refuse it where nobody may push the experiment."""
    if not (place := place_in_docker_hub(given, name)):
        return
    reason = f"it names no registry, which makes it {name}, {place}"
    if push and place == OFFICIAL:
        raise InvalidImageNameError(given, reason)
    warn(f"experiment={given!r}: {reason}; write a registry, such as localhost/{given}, or {name}")


def _where_taken(stage: Stage, name: str) -> str:
    """Return the registry in which an image name is taken already; empty where it is free."""
    if find(name) is not None:
        return "the Local Registry"
    target = targets_for(stage, name, "finished")[0]
    return split_name(name).registry if target.target_stage and target.find(name) else ""
