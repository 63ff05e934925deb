"""Emit Prefect events: what was sealed, what was pushed, and what went wrong.

The table of events and their payloads is in `docs/reference/events.md`. An event that cannot be
sent is no failure of the night, and what repeats itself has the same id, so that a server which
knows it already keeps one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from prefect.events import emit_event

from ommx_prefect._format.model import RunRecord
from ommx_prefect._prefect.log import warn
from ommx_prefect._reporting.markdown import name_in_shell
from ommx_prefect._reporting.night import FlowRunFacts, Night
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._shards import columns
from ommx_prefect._values.display import for_terminal
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect._values.secrets import redact_known

SEALED = "ommx-prefect.experiment.sealed"
PUSHED = "ommx-prefect.experiment.pushed"
SEAL_FAILED = "ommx-prefect.experiment.seal-failed"
PUSH_FAILED = "ommx-prefect.experiment.push-failed"
REGRESSED = "ommx-prefect.experiment.regressed"
CONTRADICTED = "ommx-prefect.experiment.contradicted"
OLD_SEAL_FAILED = "ommx-prefect.seal.failed"
RUN_FAILED = "ommx-prefect.run.failed"
RUN_INTERRUPTED = "ommx-prefect.run.interrupted"

OF_RUN = {"failed": RUN_FAILED, "interrupted": RUN_INTERRUPTED}
# Of one seal, whatever the number of its Runs: the failed ones come first.
MOST_RUN_EVENTS = 20
# Of sentences in one payload, and of characters in one text.
MOST_SAID = 20
LONGEST = 1000


def tell_sealed(night: Night) -> None:
    """Emit the events of a seal, of its push, and of Runs that failed or were interrupted."""
    sealed = night.sealed
    _emit(SEALED, night.facts, _sealed_payload(sealed), sealed)
    tell_pushed(night)
    for run_id, run in islice(night.unwell(), MOST_RUN_EVENTS):
        _emit_run(night, run_id, run)


def tell_pushed(night: Night) -> None:
    """Emit the event of a push, or of its failure."""
    sealed = night.sealed
    if sealed.pushed and not sealed.composed_in:
        pushed = {"image_name": sealed.remote_name, "digest": sealed.manifest_digest}
        _emit(PUSHED, night.facts, pushed, sealed)
    if sealed.push_problem:
        _emit(PUSH_FAILED, night.facts, _push_failed_payload(night), sealed)


def tell_seal_failed(facts: FlowRunFacts, error: str) -> None:
    """Emit the event of a failed seal, also under the name that it had in release 0.1.0."""
    resource = {
        "prefect.resource.id": f"prefect.{facts.kind}.{facts.flow_run_id}",
        "prefect.resource.name": facts.flow_run_name,
    }
    payload = {"error": for_terminal(error), "mend": facts.command}
    _send(OLD_SEAL_FAILED, resource, facts, payload)
    _emit(SEAL_FAILED, facts, payload)


def tell_regressed(night: Night, before: str, regressions: Sequence[str]) -> None:
    """Emit the event of regressions against an earlier experiment."""
    look = f"ommx-prefect compare {before} {name_in_shell(night)}"
    payload = {"before": before, "command": look, **_count_and_first("regressions", regressions)}
    _emit(REGRESSED, night.facts, payload, night.sealed)


def tell_contradicted(night: Night, before: str, contradictions: Sequence[str]) -> None:
    """Emit the event of contradictory results, also with those of an earlier experiment."""
    shown = f"compare {before}" if before else "show"
    look = f"ommx-prefect {shown} {name_in_shell(night)}"
    payload = {"command": look, **_count_and_first("contradictions", contradictions)}
    _emit(CONTRADICTED, night.facts, payload, night.sealed)


def _sealed_payload(sealed: SealedExperiment) -> dict[str, Any]:
    return {
        "image_name": sealed.image_name,
        "digest": sealed.manifest_digest,
        "status": sealed.status,
        "runs": dict(sealed.counts),
        "pushed": sealed.pushed,
        "opens_with": sealed.opens_with,
        **_count_and_first("warnings", sealed.warnings),
    }


def _push_failed_payload(night: Night) -> dict[str, Any]:
    return {
        "image_name": night.sealed.remote_name,
        "digest": night.sealed.manifest_digest,
        "error": night.sealed.push_problem,
        "mend": night.facts.command,
    }


def _count_and_first(name: str, sentences: Sequence[str]) -> dict[str, Any]:
    """Return the number of sentences, and the first ones, for an event's payload."""
    return {f"{name}_count": len(sentences), name: list(sentences[:MOST_SAID])}


def _emit_run(night: Night, run_id: int, run: RunRecord) -> None:
    parameters = run.parameters
    task = str(parameters.get(columns.TASK, ""))
    payload = {
        "run_id": run_id,
        "task": task,
        "attempt": parameters.get(columns.ATTEMPT),
        "state": parameters.get(columns.STATE, ""),
        "reason": run.reason or "",
        "image_name": night.sealed.image_name,
        "digest": night.sealed.manifest_digest,
    }
    resource = {
        "prefect.resource.id": f"prefect.task-run.{parameters.get(columns.TASK_RUN_ID, '')}",
        "prefect.resource.name": task,
    }
    _send(OF_RUN[run.status], resource, night.facts, payload)


def _emit(
    event: str,
    facts: FlowRunFacts,
    payload: Mapping[str, Any],
    sealed: SealedExperiment | None = None,
) -> None:
    resource = {
        "prefect.resource.id": f"ommx-prefect.experiment.{facts.flow_run_id}",
        "prefect.resource.name": sealed.image_name if sealed else facts.flow_run_name,
    }
    if sealed:
        resource["ommx-prefect.digest"] = sealed.manifest_digest
    _send(event, resource, facts, payload)


def _send(
    event: str, resource: dict[str, str], facts: FlowRunFacts, payload: Mapping[str, Any]
) -> None:
    """Send an event with what it is related to, without secrets and in bounds."""
    plain = _bounded(dict(payload))
    same = f"{event} {resource} {facts.flow_run_id} {sorted(plain.items(), key=str)}"
    try:
        emit_event(
            event,
            resource=_bounded(resource),
            related=related_to(facts),
            payload=plain,
            id=uuid5(NAMESPACE_URL, same),
        )
    except Exception as error:  # the night is sealed, whoever is told of it
        warn(f"The event {event} was not sent: {describe_error(error)}")


def related_to(facts: FlowRunFacts) -> list[dict[str, str]]:
    """Return the resources that an event of a flow run is related to, by which automations match.

    Prefect's own events name them in the same way.
    """
    found = (
        (facts.kind, facts.flow_run_id, facts.flow_run_name),
        ("flow", facts.flow_id, facts.flow_name),
        ("deployment", facts.deployment_id, facts.deployment_name),
    )
    return [
        {
            "prefect.resource.id": f"prefect.{role}.{each}",
            "prefect.resource.role": role,
            "prefect.resource.name": name,
        }
        for role, each, name in found
        if each
    ]


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        text = for_terminal(redact_known(value), LONGEST)  # longer, where it had to be escaped
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    if isinstance(value, Mapping):
        return {key: _bounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_bounded(each) for each in value]
    return value
