"""The keys of a flow's artifacts in Prefect's UI; each key shows the history of its flow."""

from __future__ import annotations

import hashlib
import re

from ommx_prefect._reporting.night import FlowRunFacts

LONGEST_SLUG = 80


def page_key(facts: FlowRunFacts) -> str:
    """Return the key of a flow's page: of its deployment, else of the flow."""
    name = facts.flow_name or "flow"
    return f"ommx-{_slug(f'{name}/{facts.deployment_name}' if facts.deployment_name else name)}"


def runs_key(facts: FlowRunFacts) -> str:
    """Return the key of the table of Runs."""
    return f"{page_key(facts)}-runs"


def _slug(text: str) -> str:
    """Return a text in lower-case letters, digits and dashes; a hash keeps non-ASCII ones apart.

    Names that differ in blanks, capitals or signs alone share one: a key is for people to read.
    """
    slug = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
    if text.isascii() and 0 < len(slug) <= LONGEST_SLUG:
        return slug
    digits = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{slug[: LONGEST_SLUG - 9]}-{digits}".strip("-")
