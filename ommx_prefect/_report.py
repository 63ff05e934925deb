"""What people see in Prefect's UI after a seal: two artifacts of the flow run, or an event.

Artifacts are made with the client and the flow run's id: Prefect's own helpers attach them to
the flow run only in some hooks, and make nothing in a sync hook of an async flow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ommx.experiment import Experiment
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event

from ommx_prefect._prefect_api import api_client
from ommx_prefect._registry import registry_root
from ommx_prefect._sealed import SealedExperiment, load_experiment
from ommx_prefect._states import describe_error

EXPERIMENT_KEY = "ommx-experiment"
RUNS_KEY = "ommx-runs"
FAILED_EVENT = "ommx-prefect.seal.failed"
MOST_ROWS = 500

# Columns of the table of Runs that come first, with their titles.
FIRST_COLUMNS = {
    "prefect.task": "task",
    "prefect.attempt": "attempt",
    "prefect.state": "state",
    "prefect.duration_seconds": "seconds",
}
# Columns that only machines want.
HIDDEN_COLUMNS = frozenset(
    {"prefect.task_run_id", "prefect.started_at", "prefect.host", "prefect.flow_attempt"}
)


def report_sealed(flow_run: FlowRun, sealed: SealedExperiment) -> None:
    """Attach the summary and the table of Runs to the flow run."""
    experiment = load_experiment(sealed.flow_run_id)
    rows = runs_table(experiment)
    _attach(flow_run.id, EXPERIMENT_KEY, "markdown", summary(sealed, len(rows)))
    if rows:
        _attach(flow_run.id, RUNS_KEY, "table", json.dumps(rows[:MOST_ROWS]))


def report_push(sealed: SealedExperiment) -> None:
    """Show anew a summary that a push by hand has changed."""
    _attach(sealed.flow_run_id, EXPERIMENT_KEY, "markdown", summary(sealed))


def report_failure(flow_run: FlowRun, error: Exception) -> None:
    """Show a seal that failed where people look: an artifact and an event."""
    text = describe_error(error)
    try:
        _attach(flow_run.id, EXPERIMENT_KEY, "markdown", f"## Experiment not sealed\n\n{text}\n")
        resource = {
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.name": flow_run.name,
        }
        emit_event(FAILED_EVENT, resource=resource, payload={"error": text})
    except Exception:  # no API, no UI: the log has it
        return


def summary(sealed: SealedExperiment, rows: int = 0) -> str:
    """Return the markdown a person wants to read the next morning."""
    runs = ", ".join(f"{count} {status}" for status, count in sealed.counts.items()) or "none"
    lines = [
        f"## Experiment {sealed.status}",
        "",
        f"| | |\n|---|---|\n| Image | `{sealed.image_name}` |",
        f"| Digest | `{sealed.manifest_digest}` |",
        f"| Runs | {runs} |",
        f"| Local Registry | `{registry_root()}` |",
        *_push_row(sealed),
        "",
        "```python",
        "from ommx.experiment import Experiment",
        sealed.opens_with,
        "```",
    ]
    if rows > MOST_ROWS:
        lines += ["", f"The table shows the first {MOST_ROWS} of {rows} Runs."]
    if sealed.push_problem:
        again = f"ommx_prefect.seal({sealed.flow_run_id!r})"
        lines += ["", "### Not pushed", "", sealed.push_problem, "", f"Push it by: `{again}`"]
    if sealed.warnings:
        lines += ["", "### Warnings", "", *(f"- {warning}" for warning in sealed.warnings)]
    return "\n".join(lines) + "\n"


def _push_row(sealed: SealedExperiment) -> list[str]:
    if sealed.pushed is None:
        return []
    return [f"| Registry | {'pushed' if sealed.pushed else '**not pushed**'} |"]


def runs_table(experiment: Experiment) -> list[dict[str, Any]]:
    """Return one row for each Run: status, who, and the run parameters."""
    parameters = experiment.run_parameters_df()
    wanted = [name for name in parameters.columns if name not in HIDDEN_COLUMNS]
    wanted.sort(key=lambda name: name not in FIRST_COLUMNS)
    cells = parameters.reindex(columns=wanted).to_dict("index")
    return [
        {
            "run": run.run_id,
            "status": run.status,
            **_named(cells.get(run.run_id, {})),
            "reason": run.lifecycle_reason or "",
        }
        for run in experiment.runs
    ]


def _named(cells: Mapping[Any, Any]) -> dict[str, Any]:
    # A missing cell is NaN in pandas; in the UI it is empty.
    return {
        FIRST_COLUMNS.get(name, name): None if value != value else _plain(value)
        for name, value in cells.items()
    }


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return round(value, 3) if isinstance(value, float) else value


def _attach(flow_run_id: UUID | str, key: str, kind: str, data: str) -> None:
    owner = UUID(str(flow_run_id))
    artifact = ArtifactCreate(key=key, type=kind, data=data, flow_run_id=owner)
    with api_client() as client:
        client.create_artifact(artifact)
