"""Ask Prefect's API for the task runs of a flow run, for facts that its shards do not have."""

from __future__ import annotations

import time

from prefect.client.orchestration import SyncPrefectClient

from ommx_prefect._flowrun.pending import expected_task_runs, expects_task_runs
from ommx_prefect._prefect.api import (
    TaskRunRow,
    api_client,
    await_task_runs,
    read_lone_task_runs,
)
from ommx_prefect._sealing.staged import Staged
from ommx_prefect._shards.schema import ROOT_FLOW_RUN_KEY
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._values.error_texts import describe_error

# A server that has more to do than it can takes in a task run this late, or a little later.
TAKEN_IN_SECONDS = 60.0


def ask_for_task_runs(record: FlowRecord, staged: Staged) -> tuple[list[TaskRunRow], list[str]]:
    """Return the API's task runs, and the reasons if it could not be asked."""
    flow_runs = _flow_runs(record, staged)
    lone = {x.task_run_id for x in staged.interrupted if not x.flow_run_id} - {""}
    if "" in flow_runs and not lone:  # a task run outside flows: its shards tell all
        return [], []
    try:
        with api_client() as client:
            if lone:
                return read_lone_task_runs(client, lone), []
            return _await(client, flow_runs, record.root_flow_run_id, staged), []
    except Exception as error:
        return [], [f"Prefect's API could not be asked for task runs: {describe_error(error)}"]


def _flow_runs(record: FlowRecord, staged: Staged) -> set[str]:
    """Return the ids of the flow run and of its subflow runs that have no own experiment."""
    attempts = (*staged.interrupted, *staged.running)
    root = record.root_flow_run_id
    members = {x for x, told in staged.subflows.items() if told.get(ROOT_FLOW_RUN_KEY) == root}
    found = {each.flow_run_id for each in staged.all_ended} | {record.flow_run_id}
    return found | ({attempt.flow_run_id for attempt in attempts} - {""}) | members


def _await(
    client: SyncPrefectClient, flow_runs: set[str], root_flow_run_id: str, staged: Staged
) -> list[TaskRunRow]:
    """Read the task runs; wait only for those that no shard and no process explains."""
    ended = {each.task_run_id for each in staged.all_ended}
    gone = {attempt.task_run_id for attempt in staged.interrupted} - ended - {""}
    unexplained = {attempt.task_run_id for attempt in staged.running} - {""}
    unexplained |= expected_task_runs(root_flow_run_id) - ended - gone
    return await_task_runs(
        client,
        flow_runs,
        ended - {""},
        unexplained,
        gone,
        ended_elsewhere=not expects_task_runs(root_flow_run_id) and _just_ended(staged),
    )


def _just_ended(staged: Staged) -> bool:
    """Tell whether Prefect may not yet have taken in what ended together with these attempts."""
    now = time.time()
    return now - staged.last_end(now) < TAKEN_IN_SECONDS
