"""What happens when a recorded flow run starts: its experiment gets a name and a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.callables import get_parameter_defaults

from ommx_prefect._flowrun.image_name import (
    FlowRunFacts,
    NameSource,
    anonymous_tag,
    is_registry_missing,
    resolve,
)
from ommx_prefect._flowrun.pending import expect_task_runs
from ommx_prefect._flowrun.process_record import note_flow_process
from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._oci.image_name import suffix_of, with_suffix, with_tag
from ommx_prefect._oci.names import split_name
from ommx_prefect._prefect.log import warn
from ommx_prefect._registry.blobs import anonymous_name, canonical_name, find
from ommx_prefect._stages.documents import (
    FLOW_RECORD,
    LOCAL,
    STATE_RECORD,
    FlowRecord,
    read_flow_record,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._targets.choose import homes_for
from ommx_prefect._values.parameters import scalars
from ommx_prefect._values.secrets import Redactor
from ommx_prefect.exceptions import (
    ImageNameError,
    ImageNameTakenError,
    InvalidImageNameError,
    StageError,
)


def open_flow_run(
    hook: ExperimentSettings,
    flow: Flow[Any, Any],
    flow_run: FlowRun,
    parameters: Mapping[str, Any],
    enclosing: str | None = None,
) -> FlowRecord:
    """Name a flow run's experiment, check the name, and keep the record; once per flow run.

    Raises:
        InvalidImageNameError: The name does not parse.
        ImageNameTakenError: It stands in the Local Registry already, and replace is False.
        StageError: The stage cannot be listed or written.
    """
    own_id = str(flow_run.id)
    member_of = enclosing if hook.experiment is None else None
    # The record of a member concerns this host alone; its shards are the enclosing flow run's.
    stage = LocalStage(own_id) if member_of else stage_of(own_id, default=hook.stage)
    stage.remove(STATE_RECORD)
    note_flow_process(LocalStage(own_id))
    expect_task_runs(own_id)
    record = read_flow_record(stage)
    if record is None:
        facts = facts_of(flow, flow_run, parameters)
        record = _member(facts, member_of) if member_of else _named(hook, facts, flow_run, stage)
        place = stage_of(enclosing) if enclosing and member_of else stage
        record = replace(record, stage=place.name)
        stage.write(FLOW_RECORD, asdict(record))
        if enclosing:
            stage_of(enclosing).write(f"subflows/{flow_run.id}", asdict(record))
    return record


def open_in_hook(hook: ExperimentSettings, flow: Flow[Any, Any], flow_run: FlowRun) -> None:
    """Open a flow run from its on_running hook, which cannot refuse it."""
    try:
        open_flow_run(hook, flow, flow_run, flow_run.parameters)
    except StageError as error:
        warn(f"{error}. This flow run goes on, and its shards wait in the Local Registry.")
        open_in_hook(replace(hook, stage=LOCAL), flow, flow_run)
    except ImageNameError as error:
        warn(f"{error} This flow run goes on, and its experiment gets an anonymous name.")
        anonymous = ExperimentSettings(stage=hook.stage)
        open_flow_run(anonymous, flow, flow_run, flow_run.parameters)


def facts_of(
    flow: Flow[Any, Any], flow_run: FlowRun, parameters: Mapping[str, Any]
) -> FlowRunFacts:
    """Collect what names are made of; a deployment's runs know only the parameters it sets."""
    now = datetime.now(timezone.utc)
    parameters = {**get_parameter_defaults(flow.fn), **parameters}
    return FlowRunFacts(
        flow_run_id=str(flow_run.id),
        flow_run_name=Redactor(parameters).text(flow_run.name),
        flow_name=flow.name,
        scheduled_time=flow_run.expected_start_time or flow_run.start_time or now,
        start_time=flow_run.start_time or now,
        parameters=parameters,
    )


def record_of(
    facts: FlowRunFacts, hook: ExperimentSettings, image_name: str, *, chosen: bool, deployment: str
) -> FlowRecord:
    """Write down what the seal needs."""
    redact = Redactor(facts.parameters)
    found = scalars(facts.parameters, True)
    return FlowRecord(
        owner=facts.flow_run_id,
        image_name=image_name,
        replace=hook.replace,
        aliases=hook.aliases,
        chosen=chosen,
        flow_run_id=facts.flow_run_id,
        flow_run=facts.flow_run_name,
        flow=facts.flow_name,
        deployment_id=deployment,
        scheduled_time=facts.scheduled_time.isoformat(),
        parameters={k: redact.scalar(v) for k, v in found if not isinstance(v, Exception)},
        push=hook.push,
    )


def _member(facts: FlowRunFacts, owner: str) -> FlowRecord:
    record = record_of(facts, ExperimentSettings(), "", chosen=False, deployment="")
    return FlowRecord(**{**vars(record), "owner": owner})


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


def _named(
    hook: ExperimentSettings, facts: FlowRunFacts, flow_run: FlowRun, stage: Stage
) -> FlowRecord:
    shown = flow_run.model_copy(update={"name": facts.flow_run_name})
    template = _called(hook.experiment, shown)
    deployment = str(flow_run.deployment_id or "")
    if template is None:
        name = anonymous_name(anonymous_tag(facts))
        return record_of(facts, hook, name, chosen=False, deployment=deployment)
    given, chosen = resolve(template, facts)
    name = canonical_name(given)
    _check_registry(given, name, hook.push)
    for alias in hook.aliases:
        canonical_name(with_tag(name, alias))
    place = "" if hook.replace else _where_taken(stage, name)
    if place:
        if chosen:
            raise ImageNameTakenError(name, place)
        name = with_suffix(name, suffix_of(facts.flow_run_id))
    return record_of(facts, hook, name, chosen=chosen, deployment=deployment)


def _check_registry(given: str, name: str, push: bool) -> None:
    """Warn of a name without a registry; refuse it where the experiment is to be pushed there."""
    if not is_registry_missing(given, name):
        return
    reason = f"it names no registry, which makes it {name}, one of Docker Hub's official images"
    if push:
        raise InvalidImageNameError(given, reason)
    warn(f"experiment={given!r}: {reason}; write a registry, such as localhost/{given}")


def _where_taken(stage: Stage, name: str) -> str:
    """Return where a name stands already, of the places in which it is to stand; or nothing."""
    if find(name) is not None:
        return "the Local Registry"
    home = homes_for(stage, name, "finished")[0]
    return split_name(name).registry if home.composed_in and home.find(name) else ""
