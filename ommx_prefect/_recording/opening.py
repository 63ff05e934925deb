"""Open the record of an attempt, before the task's function runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ommx_prefect._flowrun.context import adopt_stage, unsealed_flow_run
from ommx_prefect._flowrun.pending import remember_task_run
from ommx_prefect._flowrun.secrets import secrets_of_flow_run
from ommx_prefect._format.model import Scalar
from ommx_prefect._prefect.log import warn_once
from ommx_prefect._recording.current import recording_here
from ommx_prefect._recording.notify import notify_prefect
from ommx_prefect._recording.record import Record
from ommx_prefect._registry import keepalive
from ommx_prefect._registry.space import require_space
from ommx_prefect._stages.resolve import stage_of
from ommx_prefect._values.error_texts import (
    describe_error,
    message_of,
    one_line,
    text_of_error,
)
from ommx_prefect._values.parameters import keywords_of, scalars
from ommx_prefect._workarounds.rust_spans import leave_rust_spans


def open_record(record: Record) -> None:
    """Write the start record of an attempt, and open its Run where a trace is to begin with it.

    What fails is a fault of the record; nothing is raised but timeouts and signals.
    """
    with record.faults.guarded("begin"):
        leave_rust_spans()
        _begin(record)
    if record.context is not None and (flow_run := unsealed_flow_run()) is not None:
        _warn_of_plain_flow(str(flow_run.id))
    if record.faults.first:
        record.open_run.give_up()
    if record.options.store_trace:
        with record.faults.guarded("open a Run"):
            record.open_run.trace()


def _warn_of_plain_flow(flow_run_id: str) -> None:
    """Warn that no hook will seal what is recorded; once for each flow run."""
    warn_once(
        "This flow is plain Prefect's: what its tasks record waits, and nothing seals it. Decorate "
        "the flow with ommx_prefect.flow, or with @prefect.flow(**ommx_prefect.seal_hooks()); "
        f"`ommx-prefect seal {flow_run_id}` seals this run when it has ended"
    )


def _begin(record: Record) -> None:
    _find_secrets(record)
    # These need no disk: where there is none, the attempt is known all the same.
    notify_prefect(record)
    remember_task_run(record.attempt.root_flow_run_id, record.attempt.task_run_id)
    _find_stage(record)
    require_space()
    if inputs := _inputs_of(record):
        record.attempt = record.attempt.with_inputs(inputs)
    record.stage.begin(record.attempt)
    keepalive.keep(record.attempt)


def _find_secrets(record: Record) -> None:
    # Flows and tasks hand theirs to the tasks that they call, under whatever name.
    around = recording_here()
    handed = secrets_of_flow_run(record.attempt.root_flow_run_id)
    record.redact.add(handed.union(around.redact.texts if around else ()))
    search_for_secrets(record, "argument", record.arguments)
    task_run = record.redact.text(record.attempt.task_run)
    if task_run != record.attempt.task_run:
        record.attempt = dataclasses.replace(record.attempt, task_run=task_run)


def search_for_secrets(record: Record, kind: str, values: Mapping[str, Any]) -> None:
    """Learn the secrets in these values; a value that cannot be searched gets a note."""
    for name, error in record.redact.learn(values).items():
        reason = describe_error(error, record.redact.text)
        record.faults.note_once(f"{kind} {name!r} cannot be searched for secrets: {reason}")


def _find_stage(record: Record) -> None:
    root_flow_run_id = record.attempt.root_flow_run_id
    adopt_stage(root_flow_run_id)
    if record.attempt.flow_run_id:  # outside flows an attempt is sealed in its own process
        record.stage = stage_of(root_flow_run_id)


def _inputs_of(record: Record) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    keywords = _keywords_of(record)
    for name, value in scalars(record.arguments, record.options.log_inputs, keywords):
        if isinstance(value, Exception):
            said = message_of(value) if isinstance(value, ValueError) else text_of_error(value)
            reason = one_line(record.redact.text(said))
            record.faults.note(f"argument {name!r} is not recorded: {reason}")
        else:
            found[name] = record.redact.scalar(value)
    return found


def _keywords_of(record: Record) -> str | None:
    """Return the name of the function's `**keywords` argument, if it has one."""
    if record.context is None or dict not in map(type, record.arguments.values()):
        return None
    return keywords_of(record.context.task.fn)
