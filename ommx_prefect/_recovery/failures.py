"""Tell people of a flow run that recovery cannot seal: on its page, and by an event."""

from __future__ import annotations

from prefect.exceptions import ObjectNotFound

from ommx_prefect._prefect.api import find_flow_name, read_flow_run
from ommx_prefect._prefect.log import warn
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._recovery.prefect_answer import PrefectConnection
from ommx_prefect._reporting.events import tell_seal_failed
from ommx_prefect._reporting.night import FlowRunFacts, facts_of
from ommx_prefect._reporting.publish import report_still_unsealed


def tell_failed(prefect: PrefectConnection, facts: FlowRunFacts, why: str) -> None:
    """Show and tell that a flow run was not sealed, and which command mends that.

    One that Prefect does not know has no page, and is told of by an event alone.

    Args:
        prefect: Prefect's API; where it cannot be asked, nobody is told.
        facts: What is known here of the flow run.
        why: Why it was not sealed.
    """
    if prefect.client is None:
        return
    try:
        flow_run = read_flow_run(prefect.client, facts.flow_run_id)
        found = facts_of(flow_run, find_flow_name(prefect.client, flow_run))
    except ObjectNotFound:
        if facts.flow_name:  # else it may be a task run outside flows
            tell_seal_failed(facts, why)
    except Exception as error:
        warn(f"Prefect was not told that {facts.flow_run_id} waits: {describe_error(error)}")
    else:
        report_still_unsealed(found, why)
