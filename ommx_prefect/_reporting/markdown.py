"""Write the parts of a page as markdown: links, commands, lists that are cut, and counts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ommx_prefect._reporting.night import Night
from ommx_prefect._values.display import for_markdown, for_terminal

# Of failed Runs, contradictions, changes; the rest is counted.
MOST_LINES = 20
# Kind of a page of Prefect's UI -> where it is.
PLACES = {
    "flow-run": "runs/flow-run",
    "task-run": "runs/task-run",
    "flow": "flows/flow",
    "deployment": "deployments/deployment",
}
_ID = re.compile("[0-9a-fA-F-]{1,64}")


def link(title: str, kind: str, prefect_id: str) -> str:
    """Return a link to a page of the UI that shows this one; nothing where the id is none.

    It is relative: an artifact is shown at `artifacts/artifact/<id>` below whatever address the V1
    UI, the V2 UI or Prefect Cloud has, and what Prefect calls the address of a page is V1's.
    """
    is_known = kind in PLACES and _ID.fullmatch(prefect_id)
    return f"[{title}](../../{PLACES[kind]}/{prefect_id})" if is_known else ""


def command(text: str) -> list[str]:
    """Return a command in a block of its own."""
    return ["```sh", for_terminal(text), "```"]


def listed(title: str, sentences: Iterable[str]) -> list[str]:
    """Return a section with a list; nothing where the list is empty."""
    said = list(sentences)
    if not said:
        return []
    lines = [f"### {title}", "", *(f"- {for_markdown(x)}" for x in said[:MOST_LINES])]
    return lines + more(len(said), "in the experiment")


def more(count: int, where: str) -> list[str]:
    """Return the line that says how many lines of a list are left out, and where to find them."""
    return ["", f"{count - MOST_LINES} more {where}."] if count > MOST_LINES else []


def many(count: int, what: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def name_in_shell(night: Night) -> str:
    """Return the name of an experiment for a shell command, without need of quotes.

    One that is not finished is a checkpoint, and known by its flow run; where it was composed in
    its registry, it is known by the name that it has there.
    """
    sealed = night.sealed
    is_here = sealed.status != "finished" and not sealed.composed_in
    return for_terminal(night.facts.flow_run_id if is_here else sealed.remote_name)
