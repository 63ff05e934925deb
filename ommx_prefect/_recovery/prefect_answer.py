"""Ask Prefect for the state of a flow run, and set it to Crashed."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from ommx_prefect._prefect.api import api_client, find_flow_name, read_flow_run
from ommx_prefect._recovery.unsealed import Unsealed
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import Redactor

# Prefect's name of a state that nobody can tell.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class PrefectAnswer:
    """What Prefect's API says of a flow run (or of a task run outside flows).

    Attributes:
        state: Its state; None where the API does not know it, or could not be asked.
        flow_run: The flow run.
        flow: The name of its flow.
        problem: Why the API could not be asked.
    """

    state: State[Any] | None = None
    flow_run: FlowRun | None = None
    flow: str = ""
    problem: str = ""


@dataclass(frozen=True)
class PrefectConnection:
    """Prefect's API, or why it cannot be asked.

    Attributes:
        client: Its client; None where it cannot be asked.
        problem: Why it cannot.
    """

    client: SyncPrefectClient | None
    problem: str = ""


def connect(stack: contextlib.ExitStack) -> PrefectConnection:
    """Connect to Prefect's API for as long as a stack is open."""
    try:
        client = stack.enter_context(api_client())
        error = client.api_healthcheck()
    except Exception as raised:  # a temporary server that does not start, a URL that is none
        return PrefectConnection(None, describe_error(raised))
    if error:
        return PrefectConnection(None, f"{client.api_url} {describe_error(error)}")
    return PrefectConnection(client)


def ask(unsealed: Unsealed, prefect: PrefectConnection) -> PrefectAnswer:
    """Ask Prefect for the state of a flow run, or of a task run outside flows."""
    client = prefect.client
    if client is None:
        return PrefectAnswer(problem=prefect.problem)
    try:
        if unsealed.lone_attempt is not None:
            return PrefectAnswer(client.read_task_run(UUID(unsealed.flow_run_id)).state)
        flow_run = read_flow_run(client, unsealed.flow_run_id)
    except ObjectNotFound:
        return PrefectAnswer()
    except Exception as error:
        return PrefectAnswer(problem=describe_error(error))
    Redactor(flow_run.parameters)  # its secrets must not come back in a message of Prefect's
    flow = unsealed.record.flow if unsealed.record else find_flow_name(client, flow_run)
    return PrefectAnswer(flow_run.state, flow_run, flow)


def mark_crashed(
    client: SyncPrefectClient, flow_run_id: str, why: str
) -> tuple[State[Any] | None, str]:
    """Propose Crashed to Prefect; return the state, or why Prefect refused."""
    state: State[Any] = Crashed(message=f"ommx-prefect recover: {why}")
    try:
        answer = client.set_flow_run_state(UUID(flow_run_id), state)
    except Exception as error:
        return None, describe_error(error)
    accepted = answer.status == SetStateStatus.ACCEPT
    return (state, "") if accepted else (None, f"{answer.status.value} {answer.details}")
