"""Read from its documents what a Run consists of: attachments with sizes, its page in Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._registry.run_parameters import run_parameters
from ommx_prefect._shards import columns
from ommx_prefect._targets.annotations import FLOW_RUN_URL


@dataclass(frozen=True)
class AttachmentFacts:
    """An attachment, without its content.

    Attributes:
        name: Its name in its Run or experiment.
        media_type: What it is.
        bytes: Its size as it is stored, which may be compressed.
        filename: The name of the file that it was, where it was one.
    """

    name: str
    media_type: str
    bytes: int
    filename: str = ""


def attachments_of(opened: Opened, run_id: int | None = None) -> list[AttachmentFacts]:
    """Return what is attached to a Run, or to the experiment itself, in the order of names."""
    layers = opened.manifest["layers"]
    holder = opened.config if run_id is None else run_config(opened, run_id)
    document = holder.get("attachments") or {}
    filenames = document.get("filenames") or {}
    return [
        AttachmentFacts(
            name, layers[index]["mediaType"], layers[index]["size"], filenames.get(name, "")
        )
        for name, index in sorted((document.get("entries") or {}).items())
    ]


def run_config(opened: Opened, run_id: int) -> Mapping[str, Any]:
    """Return what OMMX's config says of a Run."""
    runs = opened.config["runs"]
    if run_id < len(runs) and runs[run_id]["run_id"] == run_id:  # as it is, but for a single part
        found: Mapping[str, Any] = runs[run_id]
        return found
    return next(x for x in runs if x["run_id"] == run_id)


def parameters_of(opened: Opened) -> dict[int, dict[str, Any]]:
    """Return the run parameters of every Run; a Run has an entry only for what it logged."""
    return run_parameters(opened.experiment)


def task_run_url(opened: Opened, parameters: Mapping[str, Any]) -> str:
    """Return the address of a task run's page in Prefect's UI; empty where it is not known."""
    flow_run_url = opened.experiment.annotations.get(FLOW_RUN_URL, "")
    head, sign, _ = flow_run_url.partition("/runs/flow-run/")
    task_run_id = parameters.get(columns.TASK_RUN_ID)
    return f"{head}/runs/task-run/{task_run_id}" if sign and task_run_id else flow_run_url


def text_of(data: bytes) -> str:
    """Decode bytes as UTF-8 text; what is not UTF-8 is replaced."""
    return data.decode("utf-8", errors="replace")
