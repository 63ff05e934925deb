"""Report what recovery cannot seal: on the page of a flow run, and by an event.

A task run outside flows has no page, and neither has a flow run that Prefect does not know.
"""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from ommx_prefect._prefect.api import find_flow_name, read_flow_run
from ommx_prefect._prefect.log import warn
from ommx_prefect._recovery.prefect_answer import PrefectConnection
from ommx_prefect._reporting.events import tell_seal_failed
from ommx_prefect._reporting.night import FlowRunFacts, facts_of
from ommx_prefect._reporting.publish import report_still_unsealed
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import redact_known


def tell_failed(prefect: PrefectConnection, facts: FlowRunFacts, why: str) -> None:
    """Report that a flow run, or a task run outside flows, was not sealed, with the command to run.

    Args:
        prefect: Prefect's API; where it cannot be asked, nobody is told.
        facts: What is known here of the flow run.
        why: Why it was not sealed.
    """
    if prefect.client is None:
        return
    try:
        _show_and_emit(prefect.client, facts, why)
    except Exception as error:
        warn(f"Prefect was not told that {facts.flow_run_id} waits: {describe_error(error)}")


def _show_and_emit(client: SyncPrefectClient, facts: FlowRunFacts, why: str) -> None:
    try:
        flow_run = read_flow_run(client, facts.flow_run_id)
    except ObjectNotFound:
        tell_seal_failed(_as_task_run(client, facts), why)
    else:
        report_still_unsealed(facts_of(flow_run, find_flow_name(client, flow_run)), why)


def _as_task_run(client: SyncPrefectClient, facts: FlowRunFacts) -> FlowRunFacts:
    """Return what is known of a task run outside flows, where Prefect knows one of this id."""
    try:
        task_run = client.read_task_run(UUID(facts.flow_run_id))
    except ObjectNotFound:
        return facts
    return FlowRunFacts(facts.flow_run_id, redact_known(task_run.name), "", "", kind="task-run")
