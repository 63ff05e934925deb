"""Find the record of a flow run that is to be sealed, and how the flow run ended."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from prefect.client.schemas.objects import State

from ommx_prefect._flowrun.image_name import NamingFacts, anonymous_tag
from ommx_prefect._prefect.api import api_client, read_flow_run
from ommx_prefect._prefect.states import EXPERIMENT_STATUS
from ommx_prefect._registry.names import anonymous_name
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import (
    STATE_RECORD,
    End,
    FlowRecord,
    read_end,
    read_flow_record,
    write_document,
)
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._values.error_texts import describe_error, one_line
from ommx_prefect._values.secrets import Redactor, redact_known
from ommx_prefect.exceptions import FlowRunNotFinishedError, SealError


def find_flow_run(
    flow_run_id: str, stage: str | None = None, default: str | None = None
) -> tuple[Stage, FlowRecord | None]:
    """Return the stage of a flow run and its record; None where it never came to write one.

    Args:
        flow_run_id: Prefect's id.
        stage: Where its shards wait, where the caller knows.
        default: The stage of its flow, where nobody knows better.
    """
    record = read_flow_record(LocalStage(flow_run_id))
    found = stage_of(flow_run_id, stage, default)
    if record is None and found.name != LOCAL:
        record = read_flow_record(found)
    return found, record


def end_of(stage: Stage, state: State[Any] | None) -> End:
    """Return how a flow run ended, and write it down in its stage.

    Args:
        stage: The stage of the flow run.
        state: The state with which Prefect called a hook; None asks Prefect.

    Raises:
        FlowRunNotFinishedError: It has not ended.
        SealError: Prefect cannot be asked, and no hook was told.
    """
    if state is None:
        try:
            state = _ask_for_state(stage.flow_run_id)
        except Exception as error:
            if end := read_end(stage):
                return end
            reason = f"Prefect's API does not tell how it ended ({describe_error(error)})"
            raise SealError(stage.flow_run_id, reason) from error
    end = _end_in(stage.flow_run_id, state)
    write_document(stage, STATE_RECORD, end)
    return end


def _ask_for_state(flow_run_id: str) -> State[Any] | None:
    with api_client() as client:
        flow_run = read_flow_run(client, flow_run_id)
    Redactor(flow_run.parameters)  # its secrets must not come back in Prefect's message
    return flow_run.state


def _end_in(flow_run_id: str, state: State[Any] | None) -> End:
    status = EXPERIMENT_STATUS[state.type] if state else None
    if state is None or status is None:
        current = state.name if state else "unknown"
        reason = f"it is {current}, and has not ended; it is sealed when it ends"
        raise FlowRunNotFinishedError(flow_run_id, reason)
    # The hook of a cancellation is called while the state is still Cancelling.
    name = (state.name or "").replace("Cancelling", "Cancelled")
    message = redact_known(f"{name}: {state.message or ''}").rstrip(": ")
    return End(status, name, None if status == "finished" else one_line(message))


def unnamed_record(
    root_flow_run_id: str, name: str = "", started: datetime | None = None
) -> FlowRecord:
    """Return a record for a flow run that never came to write one, or for a lone task run."""
    time = started or datetime.now(timezone.utc)
    facts = NamingFacts(
        flow_run_id=root_flow_run_id,
        flow_run_name=name,
        flow_name="",
        scheduled_time=time,
        start_time=time,
        parameters={},
    )
    return FlowRecord(
        root_flow_run_id=root_flow_run_id,
        image_name=anonymous_name(anonymous_tag(facts)),
        replace=False,
        aliases=(),
        chosen=False,
        flow_run_id=root_flow_run_id,
        flow_run=name,
        flow="",
        deployment_id="",
        scheduled_time=time.isoformat(),
        parameters={},
    )
