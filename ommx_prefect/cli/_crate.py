"""Make an export a Workflow Run RO-Crate.

The profiles are Process Run Crate 0.5 and Workflow Run Crate 0.5
(https://www.researchobject.org/workflow-run-crate/profiles/workflow_run_crate), which say that the
execution of a workflow is a `CreateAction` with the workflow as instrument and files as results.
The code of a flow is not in its experiment, so the workflow is what is known of it: `flow.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ommx_prefect._catalogue.contents import parameters_of
from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._shards import columns
from ommx_prefect._targets import annotations as names
from ommx_prefect.cli._exported import INDEX, Exported
from ommx_prefect.cli._output import plain

INSTALL = '--ro-crate needs rocrate: pip install rocrate, or this package\'s extra "ro-crate"'
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
}
WORKFLOW = "flow.json"
PYTHON = "https://w3id.org/workflowhub/workflow-ro-crate#python"
STATUS = {
    "finished": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
    "interrupted": "http://schema.org/FailedActionStatus",
}


def write_crate(opened: Opened, folder: Path, made: Exported) -> None:
    """Write `ro-crate-metadata.json` beside the files of an export.

    Raises:
        ImportError: The library `rocrate` is not installed.
    """
    try:
        from rocrate.model import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise ImportError(INSTALL) from error
    crate = ROCrate()
    crate.name = opened.name
    crate.description = f"What the experiment {opened.name} ({opened.digest}) holds."
    workflow = _workflow(crate, opened, folder)
    results = [_file(crate, folder, each) for each in made.files]
    results.append(crate.add_file(folder / INDEX, INDEX))
    profiles = [
        crate.add(ContextEntity(crate, iri, properties={"@type": "CreativeWork", "name": name}))
        for iri, name in PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles
    action = crate.add_action(workflow, result=results, properties=_run(opened))
    crate.root_dataset["mentions"] = action
    crate.write(folder)


def _workflow(crate: Any, opened: Opened, folder: Path) -> Any:
    from rocrate.model import ComputerLanguage

    said = opened.experiment.annotations
    known = {key.removeprefix(names.PREFIX): value for key, value in said.items()}
    (folder / WORKFLOW).write_text(json.dumps(plain(known), indent=1), encoding="utf-8")
    flow = said.get(names.FLOW_NAME) or opened.name
    language = crate.add(ComputerLanguage(crate, PYTHON, properties={"name": "Python"}))
    workflow = crate.add_workflow(folder / WORKFLOW, WORKFLOW, main=True, lang=language)
    workflow["name"] = flow
    return workflow


def _file(crate: Any, folder: Path, each: dict[str, Any]) -> Any:
    properties = {
        "name": each.get("attachment", each["path"]),
        "encodingFormat": each["media_type"],
        "contentSize": str(each["bytes"]),
        "sha256": each["sha256"],
    }
    return crate.add_file(folder / each["path"], each["path"], properties=properties)


def _run(opened: Opened) -> dict[str, Any]:
    """Return what is known of the execution: its name, status, start, and error."""
    experiment = opened.experiment
    started = [
        x[columns.STARTED_AT] for x in parameters_of(opened).values() if columns.STARTED_AT in x
    ]
    found = {
        "name": experiment.annotations.get(names.FLOW_RUN_NAME) or opened.name,
        "actionStatus": STATUS.get(experiment.status or "finished", STATUS["finished"]),
        "startTime": min(started, default=None),
        "error": experiment.lifecycle_reason,
    }
    return {key: value for key, value in found.items() if value}
