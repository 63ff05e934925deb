"""Which experiment an attempt belongs to, read from Prefect's contexts.

A flow run that records tells its tasks so through the labels of its own FlowRun object, which
Prefect carries to threads, processes and workers (a context variable of ours would not travel).
"""

from __future__ import annotations

import contextlib
import functools
import os
from contextvars import ContextVar
from typing import Any

from ommx.artifact import set_local_registry_root
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.runtime import flow_run as runtime_flow_run

from ommx_prefect._flowrun.registry import stage_wanted
from ommx_prefect._flowrun.settings import settings_of
from ommx_prefect._registry.blobs import ROOT_VARIABLE
from ommx_prefect._shards.process import host_name, new_nonce, own_start, time_in_order
from ommx_prefect._shards.schema import ROOT_FLOW_RUN_KEY
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages.address import LOCAL
from ommx_prefect._stages.documents import FLOW_RECORD
from ommx_prefect._stages.resolve import stage_of, tell_stage
from ommx_prefect._stages.roots import tell_root
from ommx_prefect._values.parameters import storable

ROOT_FLOW_RUN_LABEL = "org.ommx-prefect.owner"
REGISTRY_ROOT_LABEL = "org.ommx-prefect.registry-root"
STAGE_LABEL = "org.ommx-prefect.stage"

# The root flow run of what runs around this, in this thread; a plain subflow belongs to it.
enclosing_root_id: ContextVar[str | None] = ContextVar("ommx_prefect_root", default=None)


def label(flow_run: FlowRun, root_flow_run_id: str, registry_root: str, stage: str) -> None:
    """Label a flow run for its tasks, wherever they run: its root, its registry, its stage."""
    ours = {
        ROOT_FLOW_RUN_LABEL: root_flow_run_id,
        REGISTRY_ROOT_LABEL: registry_root,
        STAGE_LABEL: stage,
    }
    flow_run.labels = {**flow_run.labels, **ours}
    tell_stage(root_flow_run_id, stage)


def root_flow_run_id_of(context: FlowRunContext) -> str:
    """Return the id of the flow run to whose experiment a flow run belongs."""
    flow_run = context.flow_run
    if flow_run is None:
        raise LookupError("this flow runs without a flow run")
    if (labelled := flow_run.labels.get(ROOT_FLOW_RUN_LABEL)) is not None:
        return str(labelled)
    if settings_of(context.flow) is not None or flow_run.parent_task_run_id is None:
        return str(flow_run.id)
    return enclosing_root_id.get() or _root_in_api(str(flow_run.id))


def unsealed_flow_run() -> FlowRun | None:
    """Return the flow run here if it is plain Prefect's, so that no hook will seal what it records.

    A plain subflow of a recorded flow run belongs to that one's experiment.
    """
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if context is None or context.flow is None or flow_run is None:
        return None
    is_sealed = settings_of(context.flow) is not None or ROOT_FLOW_RUN_LABEL in flow_run.labels
    return None if is_sealed or flow_run.parent_task_run_id else flow_run


def _root_in_api(flow_run_id: str) -> str:
    # A plain subflow seen from a worker: only Prefect's API knows its root.
    try:
        return _asked_root(flow_run_id)
    except Exception:  # no API: the Runs wait under the subflow's own id
        return flow_run_id


@functools.lru_cache(maxsize=1024)
def _asked_root(flow_run_id: str) -> str:
    """Ask once per subflow run; what raises is not remembered, and so is asked again."""
    return str(runtime_flow_run.root_flow_run_id or flow_run_id)


def current_attempt(context: TaskRunContext) -> Attempt:
    """Describe the attempt that Prefect runs in this thread or coroutine."""
    task_run = context.task_run
    flow_context = FlowRunContext.get()
    flow_run = flow_context.flow_run if flow_context else None
    if flow_context is not None and flow_run is not None:
        root_flow_run_id = root_flow_run_id_of(flow_context)
    else:
        root_flow_run_id = enclosing_root_id.get() or _root_id_without_context(task_run)
    return Attempt(
        root_flow_run_id=root_flow_run_id,
        flow_run_id=str(flow_run.id if flow_run else task_run.flow_run_id or ""),
        flow_attempt=flow_run.run_count if flow_run else task_run.flow_run_run_count,
        task_run_id=str(task_run.id),
        task=storable(str(context.task.name)),  # Prefect takes whatever it is given
        task_run=storable(str(task_run.name)),
        attempt=task_run.run_count,
        nonce=new_nonce(),
        started_at=time_in_order(),
        host=host_name(),
        pid=os.getpid(),
        parent_task_run_id=_parent_of(task_run.task_inputs),
        process_start=own_start(os.getpid()),
    )


def _root_id_without_context(task_run: TaskRun) -> str:
    """Return the root flow run's id for a background task that Prefect gives no context.

    Outside flows it is the id of the task run. Prefect takes no context along for a task that is
    delayed without arguments.
    """
    if task_run.flow_run_id is None:
        return str(task_run.id)
    flow_run_id = str(task_run.flow_run_id)
    try:
        record = stage_of(flow_run_id).read(FLOW_RECORD)
    except Exception:  # what cannot be read now: the Runs wait under the flow run's own id
        record = None
    return flow_run_id if record is None else str(record[ROOT_FLOW_RUN_KEY])


def _parent_of(task_inputs: dict[str, Any]) -> str:
    return next((str(parent.id) for parent in task_inputs.get("__parents__", ())), "")


def adopt_stage(root_flow_run_id: str) -> None:
    """Use the flow's stage in a worker: with a shared one, each host has its own registry."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if context is None or flow_run is None:
        return
    stage = flow_run.labels.get(STAGE_LABEL)
    if stage is None:  # under seal_hooks nothing labels the flow run
        settings = settings_of(context.flow)
        stage = stage_of(root_flow_run_id, default=stage_wanted(settings)).name
    tell_stage(root_flow_run_id, str(stage))
    root = flow_run.labels.get(REGISTRY_ROOT_LABEL)
    if stage == LOCAL and root is not None:
        _adopt_registry(str(root))
        tell_root(root_flow_run_id, str(root))


def _adopt_registry(root: str) -> None:
    """Use the flow's Local Registry in a worker to which its environment was not carried."""
    if ROOT_VARIABLE in os.environ:
        return
    with contextlib.suppress(RuntimeError):  # this process has chosen its root already
        set_local_registry_root(root)
        os.environ[ROOT_VARIABLE] = root
