"""Publish the pages of a sealed flow run in Prefect's UI; a failure there is only logged.

Artifacts are made with the client and the flow run's id: Prefect's own helpers attach them to
the flow run only in some hooks, and make nothing in a sync hook of an async flow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.sorting import ArtifactSort
from prefect.exceptions import ObjectNotFound

from ommx_prefect._prefect.api import api_client, find_flow_name, read_flow_run
from ommx_prefect._prefect.log import warn
from ommx_prefect._reporting.assets import tell_materialized
from ommx_prefect._reporting.events import (
    tell_contradicted,
    tell_pushed,
    tell_regressed,
    tell_seal_failed,
    tell_sealed,
)
from ommx_prefect._reporting.findings import Findings, find
from ommx_prefect._reporting.keys import page_key, runs_key
from ommx_prefect._reporting.night import FlowRunFacts, Night, facts_of
from ommx_prefect._reporting.page import Page, page_of, unsealed_page
from ommx_prefect._reporting.pictures import pictures
from ommx_prefect._reporting.solve_pages import show_solves
from ommx_prefect._reporting.unsealed import unsealed_before
from ommx_prefect._sealing.result import SealedExperiment
from ommx_prefect._sealing.runs_table import runs_table, table_text
from ommx_prefect._values.error_texts import describe_error, text_of_error
from ommx_prefect._values.secrets import redact_known

T = TypeVar("T")


def report_sealed(facts: FlowRunFacts, sealed: SealedExperiment) -> None:
    """Publish the pages of a sealed flow run, and emit its events."""
    night = Night(facts, sealed)
    found = _shielded(Findings(), lambda: find(night))
    cut = _shielded("", lambda: _show_table(night))
    _shielded(None, lambda: _show_page(night, found, cut))
    _shielded(0, lambda: show_solves(night))
    _shielded(None, lambda: tell_sealed(night))
    _shielded(None, lambda: tell_materialized(night))
    if found.worse:
        tell_regressed(night, found.before, found.worse)
    if found.contradictions:
        tell_contradicted(night, found.before, found.contradictions)


def report_unsealed(facts: FlowRunFacts, error: Exception | str) -> None:
    """Show why a flow run was not sealed, with the command that finishes it, and tell of it."""
    said = redact_known(error if isinstance(error, str) else text_of_error(error))
    page = unsealed_page(said, facts.command)
    _shielded(None, lambda: _attach(facts, page_key(facts), "markdown", page))
    tell_seal_failed(facts, said)


def report_still_unsealed(facts: FlowRunFacts, why: str) -> None:
    """Show and tell that a flow run cannot be sealed, unless its page says so already.

    Recovery finds it again every few minutes; a server that has the event keeps one of it.
    """
    why = redact_known(why)
    page = unsealed_page(why, facts.command)
    none: list[object] = []
    if page.text not in _shielded(none, lambda: _texts_of(facts, page_key(facts))):
        report_unsealed(facts, why)


def report_again(sealed: SealedExperiment) -> None:
    """Show a flow run that was sealed by hand, and tell of it."""

    def report() -> None:
        with contextlib.suppress(ObjectNotFound):  # Prefect does not know it: it has no page
            report_sealed(_facts_by_id(sealed.flow_run_id), sealed)

    _shielded(None, report)


def report_push(sealed: SealedExperiment) -> None:
    """Publish the page again after a push with another result than before, and emit its event."""

    def report() -> None:
        night = Night(_facts_by_id(sealed.flow_run_id), sealed)
        _show_page(night, find(night), table_of(night)[1])
        tell_pushed(night)

    _shielded(None, report)


def _facts_by_id(flow_run_id: str) -> FlowRunFacts:
    with api_client() as client:
        flow_run = read_flow_run(client, flow_run_id)
        return facts_of(flow_run, find_flow_name(client, flow_run))


def _shielded(otherwise: T, do: Callable[[], T]) -> T:
    """Run a publication; where it fails, log the error and go on."""
    try:
        return do()
    except Exception as error:
        warn(f"Of this experiment the UI was not told: {describe_error(error)}")
        return otherwise


def _show_page(night: Night, found: Findings, cut: str) -> None:
    waiting = _shielded(0, lambda: unsealed_before(night))
    page = page_of(night, found, list(pictures(found.nights)), cut, waiting)
    _attach(night.facts, page_key(night.facts), "markdown", page)


def _show_table(night: Night) -> str:
    """Show the table of Runs, and return what is to be said where it does not hold them all."""
    page, cut = table_of(night)
    if page is not None:
        _attach(night.facts, runs_key(night.facts), "table", page)
    return cut


def table_of(night: Night) -> tuple[Page | None, str]:
    """Return the table of an experiment's Runs, and a sentence where it is cut."""
    rows = runs_table(night.experiment)
    if not rows:
        return None, ""
    table, fitting = table_text(rows)
    if fitting == len(rows):
        return Page(f"{fitting} Runs, the worst first", table), ""
    said = f"the first {fitting} of {len(rows)} Runs, the worst first"
    return Page(said, table), f"The table shows {said}."


def _texts_of(facts: FlowRunFacts, key: str) -> list[object]:
    """Return what the newest page of a flow run under a key says; nothing where there is none."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(facts.flow_run_id)]),
        key=ArtifactFilterKey(any_=[key]),
    )
    with api_client() as client:
        newest = ArtifactSort.CREATED_DESC
        found = client.read_artifacts(artifact_filter=wanted, sort=newest, limit=1)
    return [each.data for each in found]


def _attach(facts: FlowRunFacts, key: str, kind: str, page: Page) -> None:
    artifact = ArtifactCreate(
        key=key,
        type=kind,
        data=page.text,
        description=page.description,
        flow_run_id=UUID(facts.flow_run_id),
    )
    with api_client() as client:
        client.create_artifact(artifact)
